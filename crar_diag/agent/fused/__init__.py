"""The fused engine: agents on the CPU, compiled by Numba, many times as fast."""

"""The command line, `crar-diag`: one file a command, each of them thin (parse, call, print)."""

"""Plain Python twins of the vectorised rules, written from the paper's table of environments."""

from collections import deque

SIMPLE_MAZE = [
    "########",
    "#...#..#",
    "#...#..#",
    "#...#..#",
    "#......#",
    "#...#..#",
    "#...#..#",
    "########",
]

HAND_MAZE = """
########
#P.K...#
#.####.#
#.#K.#.#
#.##.#.#
#....#.#
#....#K#
########
"""


def simple_step(cell, action):
    row, column = cell
    if action == 0:
        row -= 1
    elif action == 1:
        row += 1
    elif action == 2:
        column -= 1
    else:
        column += 1
    return cell if SIMPLE_MAZE[row][column] == "#" else (row, column)


class LabyrinthTwin:
    """One labyrinth made of sets and tuples."""

    def __init__(self, walls, keys, player):
        self.walls = {(r, c) for r in range(8) for c in range(8) if walls[r][c]}
        self.keys = {(r, c) for r in range(8) for c in range(8) if keys[r][c]}
        self.player = tuple(int(x) for x in player)

    def step(self, action):
        row, column = self.player
        if action == 0:
            row += 1
        elif action == 1:
            column += 1
        elif action == 2:
            row -= 1
        else:
            column -= 1
        if (row, column) not in self.walls:
            self.player = (row, column)
        if self.player in self.keys:
            self.keys.remove(self.player)
            return 1.0, not self.keys
        return -0.1, not self.keys

    def tiles(self):
        grid = [[0] * 8 for _ in range(8)]
        for row, column in self.walls:
            grid[row][column] = 1
        for row, column in self.keys:
            grid[row][column] = 3
        grid[self.player[0]][self.player[1]] = 2
        return grid

    def reachable(self, start=(1, 1)):
        seen, queue = {start}, deque([start])
        while queue:
            row, column = queue.popleft()
            for cell in (
                (row + 1, column),
                (row - 1, column),
                (row, column + 1),
                (row, column - 1),
            ):
                if cell not in self.walls and cell not in seen:
                    seen.add(cell)
                    queue.append(cell)
        return seen

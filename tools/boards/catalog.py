"""All boards, in the order of a sample's way."""

from typing import Final

from boards import learner, overview, reward, rollout, weights
from boards.panels import Board

BOARDS: Final[tuple[Board, ...]] = (overview.BOARD, rollout.BOARD, reward.BOARD, learner.BOARD, weights.BOARD)


def file_name(board: Board) -> str:
    """Of its JSON and of its picture."""
    return board.uid.removeprefix("tetrad-")

"""Where the daemon is in its life."""

from typing import Literal, TypeAlias

State: TypeAlias = Literal["starting", "serving", "stopping"]


class Life:
    """One daemon's life, which began at `began`, in seconds since the epoch. It never goes back."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.state: State = "starting"

    def serve(self) -> None:
        """It answers from now on."""
        if self.state == "starting":
            self.state = "serving"

    def stop(self) -> None:
        """It is going to end: it takes no more, or will not for long."""
        self.state = "stopping"

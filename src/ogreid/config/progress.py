"""The progress bars of the project, for everything but training itself."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["ProgressBars"]


class ProgressBars:
    """A bar with rate and remaining time for each task, on standard error; called ``bars(what, done, total)``.

    A bar appears with the first call for its task. When all tasks are done the display ends, and starts anew with the
    next task. As a context manager it also ends the display of tasks that fail or are interrupted.
    """

    def __init__(self) -> None:
        self._display: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Set the task ``what`` to ``done`` of ``total``."""
        if self._display is None:
            name, left = TextColumn("{task.description}"), TimeRemainingColumn()
            console = Console(stderr=True)
            self._display = Progress(name, BarColumn(), MofNCompleteColumn(), _Rate(), left, console=console)
            self._display.start()
        if what not in self._tasks:
            self._tasks[what] = self._display.add_task(what, total=total)
        self._display.update(self._tasks[what], completed=done, total=total)
        if self._display.finished:
            self.close()

    def close(self) -> None:
        """End the display; the next call starts a new one."""
        if self._display is not None:
            self._display.stop()
        self._display, self._tasks = None, {}

    def __enter__(self) -> "ProgressBars":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="cyan")

"""The progress bars of everything but training itself."""

from rich import progress
from rich.console import Console
from rich.text import Text


class ProgressBars:
    """A bar with rate and remaining time for each task, on standard error; called ``bars(what, done, total)``.

    A bar appears with the first call for its task. The display ends when all tasks are done, and starts anew with the
    next one; ``with contextlib.closing(ProgressBars()) as bars:`` also ends it where a task fails or is interrupted.
    """

    def __init__(self) -> None:
        self._display: progress.Progress | None = None
        self._tasks: dict[str, progress.TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Set the task ``what`` to ``done`` of ``total``."""
        if self._display is None:
            name, left = progress.TextColumn("{task.description}"), progress.TimeRemainingColumn()
            columns = name, progress.BarColumn(), progress.MofNCompleteColumn(), _Rate(), left
            self._display = progress.Progress(*columns, console=Console(stderr=True))
            self._display.start()
        if what not in self._tasks:
            self._tasks[what] = self._display.add_task(what, total=total)
        self._display.update(self._tasks[what], completed=done, total=total)
        if self._display.finished:
            self.close()

    def close(self) -> None:
        """End the display."""
        if self._display is not None:
            self._display.stop()
        self._display, self._tasks = None, {}


class _Rate(progress.ProgressColumn):
    def render(self, task: progress.Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="cyan")

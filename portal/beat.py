"""Beat's schedule file, in a folder that need not be there: brokers and databases elsewhere leave ``DATA_DIR`` unmade."""

from pathlib import Path

from celery.beat import PersistentScheduler


class Scheduler(PersistentScheduler):
    """Celery's own scheduler, that makes the folder of its file."""

    def setup_schedule(self) -> None:
        file = Path(self.schedule_filename)  # type: ignore[attr-defined]  # lacks in the stubs alone
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().setup_schedule()

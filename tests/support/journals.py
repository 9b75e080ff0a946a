"""A journal whose last line is torn."""

from nas.study.journal import MendingJournal


def mend(path):
    """Append nothing, which cuts a torn last line off; the copies that stand beside the file."""
    MendingJournal(path).append_logs([])
    return list(path.parent.glob(f"{path.name}.torn*"))

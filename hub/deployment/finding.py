"""One line of the doctor's."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`trouble` is empty where all is well; `fix` says what to do."""

    what: str
    trouble: str = ""
    fix: str = ""

    @property
    def line(self) -> str:
        return f"WRONG {self.what}: {self.trouble}\n      fix: {self.fix}" if self.trouble else f"ok    {self.what}"

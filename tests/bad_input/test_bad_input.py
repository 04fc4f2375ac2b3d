"""Bad input ends in one sentence, and docs/bad-input.md has it as it is printed."""

from pathlib import Path

import pytest

from tests.bad_input.cases import Case
from tests.bad_input.page import CASES, PAGE, row

TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_what_is_said(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = case.run()
    assert said.strip()
    assert "\n" not in said
    assert "Traceback" not in said
    assert str(tmp_path) not in said
    assert row(case, said) in TEXT.splitlines(), "the page is stale: python -m tests.bad_input.page"


def test_the_page_has_these_cases_and_no_others() -> None:
    cells = [line.split(" | ")[0].removeprefix("| ") for line in TEXT.splitlines() if line.startswith("| ")]
    rows = [cell for cell in cells if cell != "what"]
    assert rows == [case.what for case in CASES]
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(case.refused for case in CASES) >= 40

"""Adds up what the test runners reported in a folder and prints one line: N passed, N failed.

JUnit files are counted by test case, since the runners do not agree on the totals they write; `doc.txt` is what
`cargo test --doc` prints. Exits with 1 if anything failed or nothing passed.
"""

import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path


def junit(path):
    """(passed, failed, skipped) of one file; a file cut short by a killed runner is one failure."""
    try:
        cases = list(xml.parse(path).iter("testcase"))
    except xml.ParseError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 0, 1, 0
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    return len(cases) - failed - skipped, failed, skipped


def doc(path):
    """The same of rustdoc's text, summed over the crates."""
    lines = re.findall(r"(\d+) passed; (\d+) failed; (\d+) ignored", path.read_text())
    return tuple(sum(map(int, column)) for column in zip(*lines)) or (0, 0, 0)


folder = Path(sys.argv[1])
parts = {path.stem: junit(path) for path in sorted(folder.glob("*.xml"))}
parts |= {path.stem: doc(path) for path in folder.glob("doc.txt")}
for name, (passed, failed, skipped) in parts.items():
    print(f"  {name:8} {passed:5} passed {failed:4} failed {skipped:4} skipped")
passed, failed, skipped = (sum(part[i] for part in parts.values()) for i in range(3))
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(1 if failed or not passed else 0)

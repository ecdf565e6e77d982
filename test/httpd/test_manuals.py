"""
The manuals (modules/NAME/README) in one form, and every example in them loads.

An entry begins with the directive's name at the margin, alone on its line, and has the lines Syntax:, Default:, Context:
and Example: indented below it. What is indented deeper than Example: is the example, up to the first line that is not; it
is complete: put into an empty server configuration it passes httpd -t. An entry may have several.
"""
import glob
import os
import re

import pytest

import gatehttpd

HEADINGS = ["Syntax", "Default", "Context", "Example"]


def indent(line):
    return len(line) - len(line.lstrip())


def entries(text):
    """Name of each directive that has an entry -> its lines."""
    found, lines = {}, None
    for line in text.splitlines():
        if re.fullmatch(r"<?Gate[A-Z]\w*>?", line):
            lines = found.setdefault(line.strip("<>"), [])
        elif line and not line[0].isspace():
            lines = None
        elif lines is not None:
            lines.append(line)
    return found


def examples(lines):
    """The examples of an entry, as texts."""
    found = []
    for number, line in enumerate(lines):
        if line.strip() == "Example:":
            text = []
            for more in lines[number + 1:]:
                if more.strip() and indent(more) <= indent(line):
                    break
                text.append(more.strip())
            found.append("\n".join(text).strip())
    return found


def guide(text, heading):
    """The lines of a part that is no directive's entry, up to the next one's underlined heading."""
    lines = text.splitlines()
    start = lines.index(heading) + 2
    ends = [n - 1 for n in range(start, len(lines)) if re.fullmatch("-{3,}|={3,}", lines[n])]
    return lines[start:min(ends, default=len(lines))]


def manuals():
    for path in sorted(glob.glob(os.path.join(gatehttpd.TOP, "modules", "*", "README"))):
        module = os.path.basename(os.path.dirname(path))
        with open(path, encoding="utf-8") as file:
            for name, lines in entries(file.read()).items():
                yield "gate" if module == "core" else f"gate_{module}", name, lines


MANUALS = list(manuals())
NAMES = [f"{module}-{name}" for module, name, _ in MANUALS]


@pytest.mark.parametrize("module,name,lines", MANUALS, ids=NAMES)
def test_entry_is_whole(module, name, lines):
    missing = [h for h in HEADINGS if not any(line.strip().startswith(h + ":") for line in lines)]
    assert not missing, f"{name} has no {', '.join(missing)}"
    for text in examples(lines):
        assert text, f"{name} has an example without a line"
    assert any(name in text for text in examples(lines)), f"no example of {name} uses it"


@pytest.mark.parametrize("module,name,lines", MANUALS, ids=NAMES)
def test_examples_load(lab, module, name, lines):
    if not gatehttpd.built(module):
        pytest.skip(f"{module} is not built")
    for text in examples(lines):
        httpd = lab.httpd(start=False, conf=text)
        good, said = httpd.check()
        assert good, f"{text}\n{said}"


@pytest.mark.needs("gate_upstream", "gate_health")
def test_configurations_of_other_proxies_load_as_ours(lab):
    with open(os.path.join(gatehttpd.TOP, "modules", "upstream", "README"), encoding="utf-8") as file:
        texts = examples(guide(file.read(), "Coming from another proxy"))
    assert len(texts) == 3
    for text in texts:
        good, said = lab.httpd(start=False, conf=text).check()
        assert good, f"{text}\n{said}"

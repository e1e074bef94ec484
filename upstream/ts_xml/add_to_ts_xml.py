# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Add the component ComCamCalib to a checkout of ts_xml, as its own change would: see README.rst.

What is added is this package's own interface and enumerations, so that there is no second copy that could drift.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lsst.ts.comcamcalib.sal_interfaces.parts import COMPONENT, enums_module, subsystem_entry, xml_files

NEWS = Path(__file__).parent / "news.rst"


class UnexpectedLayoutError(Exception):
    """A file of the checkout is not as this program knows it."""


def insert_before(path: Path, following: str, added: str) -> str:
    """Return a file's text with something added before what is known to be in it; unchanged if it is there already.

    Raises
    ------
    UnexpectedLayoutError
        If the file does not have it once.
    """
    text = path.read_text()
    if added in text:
        return text
    if text.count(following) != 1:
        raise UnexpectedLayoutError(f"{path} does not have {following!r} once; add {added.strip()!r} by hand")
    return text.replace(following, added + following)


def news_type(name: str) -> str:
    """Return the beginning of towncrier's entry for a component."""
    return f'[[tool.towncrier.type]]\ndirectory = "{name.lower()}"\nname = "{name}"\n'


def add_component(checkout: Path, ticket: str) -> list[Path]:
    """Write everything into a checkout of ts_xml; doing it twice changes nothing more.

    Parameters
    ----------
    checkout
        Root of the checkout.
    ticket
        Key of the change's ticket, for the name of the news fragment.

    Returns
    -------
    paths
        The files that were made or changed.

    Raises
    ------
    UnexpectedLayoutError
        If the checkout is not one of ts_xml, or another version's layout; nothing has been written then.
    """
    xml = checkout / "python" / "lsst" / "ts" / "xml"
    interfaces = xml / "data" / "sal_interfaces"
    subsystems, testutils, enums = interfaces / "SALSubsystems.xml", xml / "testutils.py", xml / "enums" / "__init__.py"
    towncrier = checkout / "towncrier.toml"
    for path in (subsystems, testutils, enums, towncrier):
        if not path.is_file():
            raise UnexpectedLayoutError(f"{checkout} is not a checkout of ts_xml: {path} is missing")
    # DIMM and Electrometer come after it in the order of these lists.
    wanted = {
        subsystems: insert_before(subsystems, "</SALSubsystemSet>", f"  {subsystem_entry()}\n"),
        testutils: insert_before(testutils, '    "DIMM",\n', f'    "{COMPONENT}",\n'),
        enums: insert_before(enums, "    Electrometer,\n", f"    {COMPONENT},\n"),
        towncrier: insert_before(towncrier, news_type("DIMM"), news_type(COMPONENT) + "showcontent = true\n\n"),
        xml / "enums" / f"{COMPONENT}.py": enums_module(),
        checkout / "doc" / "news" / "interface_changes" / f"{ticket}.{COMPONENT.lower()}.rst": NEWS.read_text(),
    }
    wanted |= {interfaces / COMPONENT / name: content.decode() for name, content in xml_files().items()}
    changed = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    return changed


def main() -> None:
    """Do it, and say what was done."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("checkout", type=Path, help="root of the checkout of ts_xml")
    parser.add_argument("--ticket", default="TICKET", help="key of the change's ticket, for the news fragment")
    arguments = parser.parse_args()
    try:
        changed = add_component(arguments.checkout, arguments.ticket)
    except UnexpectedLayoutError as error:
        sys.exit(str(error))
    for path in changed:
        print(path)
    print(f"{len(changed)} files were made or changed.")


if __name__ == "__main__":
    main()

"""The picture for the README."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from tests.surfaces.scenes import IN_AN_OUTAGE
from tether.surfaces.demo.picture import svg


def test_it_shows_the_view_and_loads_nothing_from_elsewhere() -> None:
    drawn = svg(IN_AN_OUTAGE)
    text = "".join(ET.fromstring(drawn).itertext()).replace("\N{NO-BREAK SPACE}", " ")

    assert "R E C O N N E C T I N G" in text
    assert "kill -9 → server" in text
    assert "@font-face" not in drawn
    assert not re.search(r"url\(\s*[\"']?http", drawn)

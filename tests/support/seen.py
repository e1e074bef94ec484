# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody with bad eyes, without a mouse, or with a screen reader has of a page, as a real browser has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from support.browser import Browser

__all__ = ["Heard", "Stops", "heard", "pale", "stops"]

# Contrast as WCAG 2.2 defines it. Texts need 4.5, large texts and graphics 3.
CONTRAST = """
(() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    return {r, g, b, a};
  };
  const over = (top, below) => ({
    r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a),
    b: top.b * top.a + below.b * (1 - top.a), a: 1});
  const light = ({r, g, b}) => {
    const [x, y, z] = [r, g, b].map((one) => one / 255).map(
      (one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ratio = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      const layer = parse(getComputedStyle(one).backgroundColor);
      if (layer.a) layers.push(layer);
      if (layer.a === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), parse("rgb(255, 255, 255)"));
  };
  const opacity = (element) => {
    let found = 1;
    for (let one = element; one; one = one.parentElement) found *= Number(getComputedStyle(one).opacity);
    return found;
  };
  const found = {};
  let seen = 0;
  const check = (element, colour, below, least, what) => {
    const shown = {...parse(colour), a: parse(colour).a * opacity(element)};
    const is = ratio(over(shown, below), below);
    seen += 1;
    if (is >= least - 0.005) return;
    const kind = (one) => one.tagName.toLowerCase() + "." + (one.getAttribute("class") || "");
    const name = `${what} of ${kind(element)} in ${kind(element.parentElement)}`;
    const said = element.textContent.trim().slice(0, 40);
    if (!(name in found)) found[name] = `${is.toFixed(2)} of ${least}: ${name}: ${said}`;
  };
  for (const element of document.querySelectorAll("body *")) {
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height || style.visibility !== "visible") continue;
    if (element.closest(".only-heard, .skip, title")) continue;
    const svg = element.namespaceURI.endsWith("svg");
    const own = [...element.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
    if (own) {
      const size = parseFloat(style.fontSize) * (svg ? box.height / Math.max(element.getBBox().height, 0.01) : 1);
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      const rect = svg && element.parentElement.querySelector("rect");
      const fill = rect && parse(getComputedStyle(rect).fill);
      const below = rect ? over(fill, behind(element)) : behind(element);
      check(element, svg ? style.fill : style.color, below, large ? 3 : 4.5, "text");
    }
    if (element.matches("rect, path, polyline")) check(element, style.stroke, behind(element), 3, "line");
    if (element.matches("circle")) check(element, style.fill, behind(element), 3, "dot");
    if (element.matches(".badge, .alarm, #stale, .warning")) {
      check(element, style.borderLeftColor, behind(element.parentElement), 3, "border");
    }
  }
  return [seen, Object.values(found)];
})()
"""

STOP = """
(() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  const said = element.getAttribute("aria-label") || element.textContent.trim().slice(0, 40);
  return {
    name: `${element.tagName.toLowerCase()} ${said}`,
    outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    inside: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0,
  };
})()
"""

# All that reacts to a click, and is to be seen.
CLICKABLE = """
[...document.querySelectorAll("a[href], button, input, select, textarea, summary, [onclick], [tabindex='0']")]
  .filter((one) => one.checkVisibility() && one.tabIndex >= 0)
  .map((one) => `${one.tagName.toLowerCase()} ${one.getAttribute("aria-label") || one.textContent.trim().slice(0, 40)}`)
"""


async def pale(browser: Browser) -> tuple[int, list[str]]:
    """Return how many texts and lines of the page were measured, and which have too little contrast."""
    seen, found = await browser.value(CONTRAST)
    return seen, found


@dataclasses.dataclass(frozen=True)
class Stops:
    """Where the key Tab leads, one after the other."""

    reached: Sequence[str]
    not_reached: Sequence[str]
    """What can be clicked, but is not reached."""
    not_seen: Sequence[str]
    """What is reached, but without an outline or outside the window."""


async def stops(browser: Browser) -> Stops:
    """Press Tab from the beginning of a page to its end."""
    clickable = await browser.value(CLICKABLE)
    reached, not_seen = [], []
    for _ in range(len(clickable) + 5):
        await browser.press("Tab")
        if (stop := await browser.value(STOP)) is None:
            break
        reached.append(stop["name"])
        if not (stop["outline"] and stop["inside"]):
            not_seen.append(stop["name"])
    return Stops(reached, sorted(set(clickable) - set(reached)), not_seen)


@dataclasses.dataclass(frozen=True)
class Heard:
    """The tree of a page that a screen reader has."""

    nodes: Sequence[dict[str, Any]]

    def of(self, role: str) -> list[str]:
        """Return the names of all things of a role, in order."""
        return [
            str(one.get("name", {}).get("value", ""))
            for one in self.nodes
            if not one.get("ignored") and one.get("role", {}).get("value") == role
        ]

    def with_property(self, name: str) -> dict[str, Any]:
        """Return the values of a property, by the role and name of what has it."""
        return {
            f"{one['role']['value']} {one.get('name', {}).get('value', '')}".strip(): mine["value"].get("value")
            for one in self.nodes
            if not one.get("ignored")
            for mine in one.get("properties", ())
            if mine["name"] == name
        }


async def heard(browser: Browser) -> Heard:
    """Return what a screen reader has of the page."""
    await browser.call("Accessibility.enable")
    return Heard((await browser.call("Accessibility.getFullAXTree"))["nodes"])

"""The page in a real browser: without JavaScript, on a phone, printed."""

from __future__ import annotations

import base64

import pytest

import chromium
from bmerge.report.page import render

pytestmark = pytest.mark.skipif(not chromium.find(), reason="no Chromium is installed")
CUT = "getComputedStyle(document.querySelector('.frame')).getPropertyValue('--cut')"


@pytest.fixture
def page(data, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(render(data)[0], encoding="utf-8")
    return f"file://{file}"


def test_slider_moves_without_javascript_by_click_and_by_key(page, tmp_path):
    with chromium.Browser(tmp_path / "profile", width=390, height=844) as browser:
        browser._call("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(page)
        browser.wait("document.querySelector('.frame') !== null")
        wide = browser.run("document.documentElement.scrollWidth - document.body.clientWidth")
        assert wide == 0, "nothing sticks out"
        browser.run("document.querySelector('.frame').scrollIntoView()")
        assert browser.run(CUT) == "50%"
        browser.click("#slide-1-8")
        assert browser.run(CUT) == "80%"
        browser._call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
        browser.key("ArrowLeft")
        assert browser.run("document.querySelector('.frame input:checked').id") == "slide-1-7"
        assert browser.run(CUT) == "70%"


def test_page_prints_both_pictures_of_a_slider(page, tmp_path):
    with chromium.Browser(tmp_path / "profile") as browser:
        browser.open(page)
        browser.wait("document.querySelector('.frame') !== null")
        browser._call("Emulation.setEmulatedMedia", media="print")
        assert browser.run("getComputedStyle(document.querySelector('.over')).clipPath") == "none"
        pdf = base64.b64decode(browser._call("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") > 1

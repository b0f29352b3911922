"""The pages in a browser: what a reader clicks, hears and sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annotate.cot.review import write_review
from report.page import write_report, write_sweep_report
from tests.unit.browser import PHONE, Open, browser, needs_browser, overflow, played_s, wait_for
from tests.unit.report.test_page import EVIL, make_run, sample, write_evaluation
from tests.unit.report.test_runs import make_sweep

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture(scope="module")
def reader() -> Iterator[Open]:
    with browser() as open_page:
        yield open_page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of 5,000 completions, one in five of them about a contradicted claim."""
    samples = [
        sample(
            n,
            advantage=None if n == 7 else (n * 37 % 5000) / 1000,
            label="sad" if n % 4 == 0 else "happy",
            correct=n % 4 == 0,
            text=f"<think>The energy is high, number {n}.</think>" if n % 5 == 0 else EVIL,
        )
        for n in range(5000)
    ]
    return write_report(make_run(tmp_path_factory.mktemp("run"), samples), num_samples=5000)


def says(page: Any) -> str:
    return page.inner_text("#page")


def first_card(page: Any) -> str:
    return page.inner_text("#list article >> nth=0")


def test_filters_sorting_and_pages(reader: Open, report: Path):
    page = reader(report)
    assert says(page) == "5000 found, page 1 of 200"
    page.select_option("#label", "sad")
    assert says(page) == "1250 found, page 1 of 50"
    page.select_option("#right", "0")
    assert says(page) == "0 found, page 1 of 1"
    assert page.inner_text("#list") == "Nothing is like that."
    page.click("#reset")
    page.select_option("#claims", "false")
    assert says(page) == "1000 found, page 1 of 40"
    page.fill("#text", "NUMBER 15.")
    assert says(page) == "1 found, page 1 of 1"
    page.click("text=its group")
    assert says(page) == "2 found of one group, page 1 of 1"
    page.click("#reset")
    page.select_option("#sort", "advantage")
    assert "advantage 4.999" in first_card(page)
    page.check("#up")
    assert "advantage 0" in first_card(page)
    page.click("#next")
    assert says(page) == "5000 found, page 2 of 200"
    page.evaluate("turn(500)")
    assert says(page) == "5000 found, page 200 of 200"
    # What was not scored is last, whichever way the others go.
    assert "advantage not scored" in page.inner_text("#list article >> nth=24")


def test_five_thousand_completions_are_not_five_thousand_elements(reader: Open, report: Path):
    page = reader(report)
    assert page.locator("#list article").count() == 25
    assert page.evaluate("document.querySelectorAll('*').length") < 2500


def test_a_link_and_loading_again_show_the_same(reader: Open, report: Path):
    page = reader(report)
    page.select_option("#label", "happy")
    page.select_option("#sort", "advantage")
    page.fill("#text", "energy & more = <b>")
    page.fill("#text", "Energy")
    page.click("#next")
    page.wait_for_url("**&page=2")
    shown = says(page), first_card(page)
    assert shown[0] == "750 found, page 2 of 30"
    other = reader(page.url)
    assert (says(other), first_card(other)) == shown
    assert other.input_value("#text") == "Energy" and other.evaluate("scrollY") > 1000
    page.evaluate("scrollTo(0, 2000)")
    page.reload()
    assert (says(page), first_card(page)) == shown and page.evaluate("scrollY") == 2000
    # A section of the page is still a link; what was chosen stays.
    page.click("nav >> text=Curves")
    wait_for(page, "scrollY < 1500")
    assert says(page) == shown[0]
    # One made for another run asks for what is not there.
    lost = reader(f"{report.as_uri()}#samples&label=gone&page=x&group=no")
    assert lost.input_value("#label") == "" and says(lost).startswith("0 found of one group")


def test_the_clip_plays(reader: Open, report: Path):
    page = reader(report)
    assert played_s(page, "#list audio") == pytest.approx(0.5)
    assert page.locator("#list canvas").first.evaluate(
        "c => c.getContext('2d').getImageData(0, 0, 900, 96).data.some(value => value)"
    )


def test_keys_alone_reach_everything(reader: Open, report: Path):
    page = reader(report)
    page.focus("#label")
    for name in ("right", "claims", "sort", "up", "text", "reset", "back", "next"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == name
    page.keyboard.press("Enter")
    assert says(page) == "5000 found, page 2 of 200"
    assert page.evaluate("document.activeElement.id") == "next"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "its group"
    page.keyboard.press("Enter")
    assert "of one group" in says(page)
    # The button is gone with its card; the reader stands at the way back.
    assert page.evaluate("document.activeElement.id") == "reset"


def test_what_a_model_wrote_is_only_text(reader: Open, report: Path):
    page = reader(report)
    assert EVIL in page.inner_text("#list article >> nth=1")
    assert page.locator("img").count() == 0 and page.locator("script").count() == 2


@pytest.mark.parametrize("look", ["light", "dark"])
def test_text_can_be_read(reader: Open, report: Path, look: str):
    page = reader(report, color_scheme=look)
    contrast = """name => {
      const light = colour => colour.match(/[0-9.]+/g).slice(0, 3).map(v => v / 255)
        .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
      const part = document.querySelector(name), ink = light(getComputedStyle(part).color);
      let behind = part;
      while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
      const paper = light(getComputedStyle(behind).backgroundColor);
      return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
    }"""  # noqa: E501
    names = (".lead", ".help", "nav a", ".facts", ".text", ".true", ".half", ".false", ".unknown")
    for name in (*names, "th", "figcaption", "figure p", "article header"):
        assert page.evaluate(contrast, name) >= 4.5, name  # AA of WCAG 2.2


def test_a_phone_shows_every_page_whole(reader: Open, report: Path, tmp_path: Path):
    sweep = make_sweep(tmp_path / "sweep").parents[1]
    evaluation = make_run(tmp_path / "evaluation", [], name="eval")
    (evaluation / "samples" / "step_000002.jsonl").unlink()
    write_evaluation(evaluation)
    sheet = make_sheet(tmp_path / "review", 20)
    for path in (report, write_sweep_report(sweep), write_report(evaluation), sheet):
        page = reader(path, **PHONE)
        assert page.evaluate("innerWidth") == 390 and overflow(page) == 0, path
    page = reader(report, **PHONE)
    page.evaluate("document.querySelectorAll('#list article')[9].scrollIntoView()")
    bar = page.locator(".pager").bounding_box()
    assert bar["y"] == 0 and bar["height"] < 60
    page.tap("#next")
    assert page.inner_text("#page") == "5000 found, page 2 of 200"
    assert page.locator("#list article").first.bounding_box()["y"] >= bar["height"]


def test_a_sweep_links_to_its_runs(reader: Open, tmp_path: Path):
    sweep = make_sweep(tmp_path).parents[1]
    run = sweep / "full" / "seed_0"
    write_report(run)
    page = reader(write_sweep_report(sweep))
    page.click("table a")
    assert page.url == (run / "report.html").as_uri()


def test_each_clip_of_a_prompt_has_a_player_and_its_name(reader: Open, tmp_path: Path):
    rows = [sample(0, clips=["clip-1.wav", "clip-0.wav"]), sample(2)]
    page = reader(write_report(make_run(tmp_path, rows)))
    several, one = page.locator("#list article").all()
    assert several.locator("audio").count() == 2 and one.locator("audio").count() == 1
    text = several.inner_text()
    assert "heard beside it: clip-1.wav" in text
    assert text.endswith("the clip asked about: clip-0.wav")
    assert "clip-2.wav" not in one.inner_text()
    names = [player.get_attribute("aria-label") for player in several.locator("audio").all()]
    assert names == ["clip-1.wav", "clip-0.wav"]


def make_sheet(folder: Path, num: int) -> Path:
    for name in ("clips", "out"):
        (folder / name).mkdir(parents=True)
    make_run(folder / "clips", [])
    rows = [
        {**sample(n), "id": f"{EVIL}{n}", "reasoning": f"The pitch is high. {EVIL}"}
        for n in range(num)
    ]
    path = folder / "out" / "review.html"
    write_review(path, rows, audio_root=folder / "clips", sample=num, seed=0)
    return path


def test_a_review_is_heard_decided_and_saved(reader: Open, tmp_path: Path):
    page = reader(make_sheet(tmp_path, 3))
    assert played_s(page, "audio") == pytest.approx(0.5)
    page.focus("input[name=r1] >> nth=0")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type('high, "as said"')
    page.check("input[name=r3][value=reject]")
    assert page.inner_text("#count") == "2 of 3 decided"
    leaving = "dispatchEvent(new Event('beforeunload', {cancelable: true}))"
    assert page.evaluate(leaving) is False  # the browser asks first
    with page.expect_download() as download:
        page.click("#save")
    assert page.evaluate(leaving) is True
    cell = '"' + EVIL.replace('"', '""')
    assert Path(download.value.path()).read_text() == (
        f'id,decision,note\n{cell}0","accept","high, ""as said"""\n{cell}1","",""\n'
        f'{cell}2","reject",""\n'
    )


def test_a_run_without_samples_has_no_errors(reader: Open, tmp_path: Path):
    run = make_run(tmp_path, [])
    rows = json.dumps({"step": 1, "time/step_s": 1.0, "sft/nll": 2.0})
    (run / "metrics.jsonl").write_text(f"{rows}\n")
    page = reader(write_report(run))
    assert page.locator("#list").count() == 0 and page.locator("figure svg").count() >= 1

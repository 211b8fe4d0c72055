"""How long the app takes from a chosen file to the probabilities on the page, in Chromium.

    make app                                       # in another terminal
    python benchmarks/app_speed.py MODEL IMAGE     # a registered model, say skin-classifier

Ten uploads, each of a user of their own, after one that loads the model. Printed: the median and the longest.
"""

import shutil
import statistics
import sys
import time
from pathlib import Path

import machine
from playwright.sync_api import Browser, sync_playwright

ADDRESS, UPLOADS = "http://127.0.0.1:8501", 10


def seconds(browser: Browser, model: str, image: Path) -> float:
    page = browser.new_page()
    page.goto(ADDRESS)
    page.get_by_role("combobox").first.click()
    page.get_by_role("option", name=model).click()
    page.wait_for_load_state("networkidle")
    start = time.perf_counter()
    page.locator("input[type=file]").set_input_files(str(image))
    page.get_by_role("heading", name=image.name).wait_for()
    page.get_by_text(" %").first.wait_for()
    taken = time.perf_counter() - start
    page.close()
    return taken


def main(model: str, image: str) -> None:
    machine.describe()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        _, *taken = [seconds(browser, model, Path(image)) for _ in range(1 + UPLOADS)]
        browser.close()
    print(f"{model}: from upload to answer {statistics.median(taken):.2f} s, the longest {max(taken):.2f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])

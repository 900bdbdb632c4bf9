# ruff: noqa: T201 - the test reads what it prints
"""Runs a function of a page with a model by script: `PAGE FUNCTION`."""

import asyncio
import re
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def function(page: str, name: str):
    """Return what a block of a page defines."""
    blocks = re.findall(
        r"^```python\n(.*?)^```$", Path(page).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    defined: dict[str, object] = {}
    exec(next(block for block in blocks if f"def {name}(" in block), defined)  # noqa: S102 - ours
    return defined[name]


def model_for(name: str):
    """Return the model by script that the framework takes."""
    if "agents_sdk" in name:
        from by_script.agents_sdk import ModelByScript  # noqa: PLC0415 - if it is installed

        return ModelByScript()
    if "langchain" in name:
        from by_script.langchain_model import ModelByScript  # noqa: PLC0415 - if it is installed

        return ModelByScript()
    from by_script.pydantic_ai_model import model_by_script  # noqa: PLC0415 - if it is installed

    return model_by_script()


def main() -> None:
    """Print what the function answers to the customer's first words."""
    sys.path.insert(0, str(EXAMPLES))
    from by_script import CUSTOMER, LEAD  # noqa: PLC0415 - it is there from here on

    page, name = sys.argv[1:]
    answer = function(page, name)
    if "beside_us" in name:
        import backstory  # noqa: PLC0415 - some environments are without it

        with backstory.open() as app:
            print(asyncio.run(answer(app.session(LEAD), model_for(name), CUSTOMER[0])))
        return
    words = CUSTOMER[0]
    said = [{"role": "user", "content": words}] if "langchain" in name else words
    print(asyncio.run(answer(LEAD, model_for(name), said)))


main()

"""The notebooks with what Colab has in 2026, as who opens them there meets them; only Colab itself is made up.

Those that train much have smaller parameters here; in full they are nbval's.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbclient
import pytest
import small_notebooks
import wheels

from normlib import stack

COLAB = [
    "tensorflow==2.20.*",
    "keras==3.13.*",
    "numpy==2.1.*",
    "ipython==7.34.*",
    "ipykernel==6.17.*",
    "jupyter-client==7.4.*",
    "pandas==2.2.*",
    "matplotlib==3.10.*",
    "pip",
]
# Where Python looks for it when it starts, this makes a kernel one of Colab's.
SITECUSTOMIZE = 'import sys, types\nsys.modules["google.colab"] = types.ModuleType("google.colab")\n'
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        stack.resolve_provider("auto") == "addons", reason="Colab has Keras 3: tested on the keras3 stack"
    ),
]


def versions(python):
    """Return the installed distributions of an environment, by name."""
    command = [python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {found["name"]: found["version"] for found in json.loads(listed)}


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """A folder with the wheel in it, and a kernel called ``colab``; the kernel's Python."""
    folder = tmp_path_factory.mktemp("colab")
    uv = Path(sys.executable).with_name("uv")
    python = folder / "environment" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "environment"], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *COLAB], check=True)
    content = folder / "content"
    content.mkdir()
    (folder / "wheel").mkdir()
    shutil.copy(wheels.build(folder / "wheel"), content)
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    kernel = folder / "jupyter" / "kernels" / "colab" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    own = {"PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "0"}
    kernel.write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python", "env": own}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
        yield content, python, versions(python)


@pytest.mark.parametrize("name", small_notebooks.NAMES)
def test_in_colab_a_notebook_installs_normlib_and_nothing_in_the_place_of_what_is_there(colab, name):
    content, python, before = colab
    notebook = small_notebooks.read(name)
    resources = {"metadata": {"path": str(content)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="colab", resources=resources).execute()
    after = versions(python)
    assert "normlib" in after
    assert {distribution: after.get(distribution) for distribution in before} == before
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in outputs if "image/png" in output.get("data", {})]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]

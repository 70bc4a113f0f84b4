"""Make a copy of an executed notebook for readers who run nothing.

    python tests/measure/executed_copy.py run.ipynb figures/reference/EmotionClassification.ipynb

Outputs stay, except those that show texts of the data set: its card allows educational and
research use only. Of collapsed cells only the title stays. What papermill noted goes. Links lead to
the project's folder; for a copy that does not lie in it, a third word says where that is.
"""

import re
import sys

import nbformat

READING = (
    "This copy is for reading; to run the notebook, take [its source](EmotionClassification.ipynb)."
)
REASON = "Not shown here: texts of the data set, which is for educational and research use only."


def executed_copy(notebook, project="../.."):
    """Return the notebook with all outputs that may be published; project: where links lead."""
    title = notebook.cells[0]
    title.source = title.source.split("To read it")[0] + READING
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        collapsed = cell.metadata.get("jupyter", {}).get("source_hidden")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type != "code":
            cell.source = re.sub(r"\]\((?!http)", f"]({project}/", cell.source)
            continue
        if collapsed:
            cell.source = cell.source.splitlines()[0].replace("@title ", "")
        if "shows-texts" in tags:
            kept = [output for output in cell.outputs if output.output_type == "stream"]
            note = nbformat.v4.new_output("stream", name="stdout", text=REASON + "\n")
            cell.outputs = [*kept, note]
    notebook.metadata.pop("papermill", None)
    return notebook


if __name__ == "__main__":
    run, copy, *project = sys.argv[1:]
    nbformat.write(executed_copy(nbformat.read(run, as_version=4), *project), copy)

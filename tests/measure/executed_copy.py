"""Make a copy of an executed notebook for readers who run nothing.

    python tests/measure/executed_copy.py run.ipynb figures/reference/EmotionClassification.ipynb

Outputs stay, except those that show texts of the data set: its card allows educational and
research use only. Of collapsed cells only the title stays. What papermill noted goes.
"""

import sys

import nbformat

REASON = "Not shown here: texts of the data set, which is for educational and research use only."


def executed_copy(notebook):
    """Return the notebook with all outputs that may be published."""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        collapsed = cell.metadata.get("jupyter", {}).get("source_hidden")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type != "code":
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
    nbformat.write(executed_copy(nbformat.read(sys.argv[1], as_version=4)), sys.argv[2])

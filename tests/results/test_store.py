import json
import subprocess
import sys

import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.claims import Estimate
from kernelregime.results import Diagnosis, Evidence, Verdict, create, environment, folder_for, read, write


@pytest.fixture
def diagnosis():
    evidence = (Evidence("drift", "drift", "change", Estimate(0.1, 0.01, 5)),)
    arrays = {"drift": np.linspace(0, 1, 4).reshape(2, 2), "steps": np.arange(2), "single": np.float32([1.5])}
    return Diagnosis(Verdict("inconclusive", "trainable"), evidence, {"dtype": "float32"}, {"drift": 0.1}, arrays)


def test_what_is_written_is_read_back(tmp_path, diagnosis):
    folder = write(diagnosis, tmp_path / "new" / "folder")
    again = read(folder)
    assert again.to_json() == diagnosis.to_json()
    for name, value in diagnosis.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], value)
        assert again.arrays[name].dtype == value.dtype


def test_files_are_written_whole_or_not_at_all(tmp_path, diagnosis):
    write(diagnosis, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.npz", "result.json"]
    before = (tmp_path / "result.json").read_text()
    broken = Diagnosis(diagnosis.verdict, (), {"x": object()}, {}, {})
    with pytest.raises(TypeError):
        write(broken, tmp_path)
    assert (tmp_path / "result.json").read_text() == before


def test_a_folder_without_a_result_is_refused(tmp_path, diagnosis):
    with pytest.raises(InputError, match=r"expected a folder with result\.json and arrays\.npz"):
        read(tmp_path)
    write(diagnosis, tmp_path)
    (tmp_path / "arrays.npz").unlink()
    with pytest.raises(InputError, match="name the folder of a finished diagnosis"):
        read(tmp_path)


def test_a_result_of_another_schema_is_refused(tmp_path, diagnosis):
    write(diagnosis, tmp_path)
    file = tmp_path / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": "kernelregime.diagnosis/99"}))
    with pytest.raises(InputError, match="expected a result with schema"):
        read(tmp_path)


def test_a_folder_with_foreign_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(
        InputError, match=r"expected an output folder that is new or empty; got .* with 'thesis\.tex' in it; .*nothing was written"
    ):
        folder_for(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_finished_result_is_overwritten_only_when_asked(tmp_path, diagnosis):
    write(diagnosis, tmp_path)
    with pytest.raises(InputError, match="expected an output folder without a result"):
        folder_for(tmp_path)
    assert folder_for(tmp_path, overwrite=True) == tmp_path


def test_a_new_folder_is_free_and_not_created_before_there_is_something_to_write(tmp_path):
    folder = folder_for(tmp_path / "a" / "b")
    assert not folder.exists()
    create(folder)
    assert folder.is_dir()


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InputError, match=r"expected an output folder; got .*, which is a file"):
        folder_for(file, overwrite=True)
    with pytest.raises(InputError, match="expected a folder that can be created"):
        create(file / "below")
    assert file.read_text() == "x"


def test_other_results_may_name_their_own_files(tmp_path):
    (tmp_path / "kernel.npz.part").write_bytes(b"")
    assert folder_for(tmp_path, files=("kernel.npz",), finished="kernel.npz") == tmp_path
    with pytest.raises(InputError, match=r"'kernel\.npz\.part' in it"):
        folder_for(tmp_path)


def test_an_unfinished_run_may_go_on_in_its_folder(tmp_path):
    (tmp_path / "checkpoint.npz").write_bytes(b"")
    assert folder_for(tmp_path) == tmp_path


def test_the_environment_is_recorded_without_names_of_hosts_or_users():
    found = environment()
    assert set(found) == {"python", "platform", "cores", "time", "packages"}
    assert found["packages"]["numpy"] == np.__version__
    assert found["time"].endswith("+00:00")
    json.dumps(found)


def test_results_are_read_without_jax():
    code = "import sys, kernelregime.results, kernelregime.claims; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

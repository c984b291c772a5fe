"""One job, begun by one system and finished by the other: Ray Data and wasmpipe hand over their checkpoints.

    handover.py --wasmpipe BINARY --component hostile.wasm --work FOLDER

1. Ray Data runs the job with a checkpoint and is killed. `wasmpipe checkpoint import` takes over, `run` finishes.
2. wasmpipe runs the job and is killed. `wasmpipe checkpoint export` hands over, Ray Data finishes.

Each time both outputs together must be what one undisturbed run gives: every row once. The job doubles a number; it drives the
real `wasmpipe` and the real Ray Data, and reads both outputs with pyarrow. It ends processes that it has started only.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq

FILES, ROWS_OF_FILE = 24, 2000
# Ray Data hangs where it sees two CPUs only.
CPUS = 8
PENDING = ".pending.parquet"

PIPELINE = """
[source]
path = "in"
id = "id"
[[stage]]
component = "{component}"
function = "double"
[sink]
path = "{name}-out"
columns = ["id", "n", "double"]
[checkpoint]
path = "{name}-checkpoint"
group_rows_max = 100
[run]
workers = 1
readers = 1
block_rows_max = 50
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wasmpipe", type=pathlib.Path)
    parser.add_argument("--component", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    # What this script starts as a process of its own, so that it can be killed.
    parser.add_argument("--ray-job", nargs=2, metavar=("NAME", "SECONDS_PER_FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ray_job:
        return ray_job(options.work, options.ray_job[0], float(options.ray_job[1]))
    shutil.rmtree(options.work, ignore_errors=True)
    make_source(options.work)
    from_ray(options)
    to_ray(options)


def make_source(work):
    (work / "in").mkdir(parents=True)
    for file in range(FILES):
        numbers = range(file * ROWS_OF_FILE, (file + 1) * ROWS_OF_FILE)
        table = pa.table({"id": [f"id-{n}" for n in numbers], "n": pa.array(numbers, pa.int64())})
        pq.write_table(table, work / "in" / f"{file:02}.parquet")


def from_ray(options):
    work = options.work
    say("1. Ray Data begins, wasmpipe finishes")
    ray = start_ray(work, "ray", seconds_per_file=1.0)
    wait_for(lambda: len(committed(work / "ray-checkpoint")) >= 5, ray)
    kill_session(ray)
    # A kill a moment earlier would have left this: output written, its ids not acknowledged yet.
    last = committed(work / "ray-checkpoint")[-1]
    last.rename(last.with_name(last.stem + PENDING))
    pending = list((work / "ray-checkpoint").glob("*" + PENDING))
    say(f"   killed Ray Data: {len(committed(work / 'ray-checkpoint'))} files of ids, {len(pending)} pending")
    assert committed(work / "ray-checkpoint") and rows_in(work / "ray-out"), "nothing was begun"

    pipeline = write_pipeline(options, "after-ray")
    for name in sorted(path.name for path in pending):
        settle_pending(options, pipeline, name)
    imported = wasmpipe(options, "checkpoint", "import", pipeline, work / "ray-checkpoint", "--json")
    ids = json.loads(imported)["ids"]
    summary = run_to_its_end(options, pipeline)
    assert summary["rows_known"] == ids and 0 < ids < FILES * ROWS_OF_FILE, summary
    say(f"   imported {ids} ids; wasmpipe knew {summary['rows_known']} rows by them and ran {summary['rows_read']}")
    assert_whole(rows_in(work / "ray-out") + rows_in(work / "after-ray-out"))


def settle_pending(options, pipeline, name):
    """What `import` tells a person to do for a file of ids whose output may be there or not, and what Ray Data does itself."""
    refused = subprocess.run(
        [options.wasmpipe, "checkpoint", "import", pipeline, options.work / "ray-checkpoint"],
        capture_output=True, text=True, check=False,
    )
    assert refused.returncode == 2 and name in refused.stderr, refused
    task = name.removesuffix(PENDING)
    for output in (options.work / "ray-out").glob(task + "*"):
        output.unlink()
    (options.work / "ray-checkpoint" / name).unlink()


def to_ray(options):
    work = options.work
    say("2. wasmpipe begins, Ray Data finishes")
    pipeline = write_pipeline(options, "before-ray")
    log = work / "before-ray-checkpoint" / "lane" / "0"
    begun = subprocess.Popen([options.wasmpipe, "run", "-q", pipeline], stdout=subprocess.DEVNULL)
    wait_for(lambda: log.is_dir() and len(os.listdir(log)) > 100, begun, pause=0.002)
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    listed = json.loads(wasmpipe(options, "output", "list", pipeline, "--json"))
    exported = json.loads(
        wasmpipe(options, "checkpoint", "export", pipeline, "--to", work / "after-checkpoint", "--json")
    )
    say(f"   killed wasmpipe: {listed['rows']} rows in {len(listed['files'])} files; exported {exported['ids']} ids")
    assert 0 < exported["ids"] == listed["rows"] < FILES * ROWS_OF_FILE

    ray = start_ray(work, "after", seconds_per_file=0.0)
    assert ray.wait() == 0, f"Ray Data failed: {work / 'after.log'}"
    finished = rows_in(work / "after-out")
    say(f"   Ray Data ran {len(finished)} rows")
    counting = [work / "before-ray-out" / file["path"] for file in listed["files"]]
    assert_whole([row for path in counting for row in rows_of(path)] + finished)


def start_ray(work, name, seconds_per_file):
    log = open(work / f"{name}.log", "w")
    command = [sys.executable, __file__, "--work", work, "--ray-job", name, str(seconds_per_file)]
    # Ray keeps files of its own in the home folder.
    environment = os.environ | {"HOME": str(work)}
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def ray_job(work, name, seconds_per_file):
    """The job as Ray Data runs it: `in` to `<name>-out` with the checkpoint `<name>-checkpoint`."""
    import ray
    from ray.data.checkpoint import CheckpointConfig

    ray.init(num_cpus=CPUS, include_dashboard=False, object_store_memory=256 << 20)
    context = ray.data.DataContext.get_current()
    context.checkpoint_config = CheckpointConfig(
        id_column="id", checkpoint_path=str(work / f"{name}-checkpoint"), delete_checkpoint_on_success=False
    )
    # Its newer reader makes one task of files as small as these, and nothing is done before all is.
    context.use_datasource_v2 = seconds_per_file == 0

    def double(batch):
        time.sleep(seconds_per_file)
        return batch.append_column("double", pa.array([2 * n.as_py() for n in batch["n"]], pa.int64()))

    source = ray.data.read_parquet(str(work / "in"), override_num_blocks=FILES)
    source.map_batches(double, batch_format="pyarrow", batch_size=None).write_parquet(str(work / f"{name}-out"))


def committed(checkpoint):
    return [path for path in checkpoint.glob("*.parquet") if not path.name.endswith(PENDING)]


def wait_for(is_so, process, pause=0.1, seconds_max=180):
    until = time.monotonic() + seconds_max
    while not is_so():
        assert process.poll() is None, f"it ended too early, with {process.returncode}"
        assert time.monotonic() < until, f"nothing happened within {seconds_max} s"
        time.sleep(pause)


def kill_session(process):
    """Kills all of a session at once: whoever saw its parent die first could tidy up."""
    for number in session_of(process.pid) + [process.pid]:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()
    until = time.monotonic() + 30
    while session_of(process.pid):
        assert time.monotonic() < until, "processes of Ray Data are still there"
        time.sleep(0.1)


def session_of(leader):
    """Living processes of a session, by /proc: after the name in brackets come state, parent, group, session."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found


def write_pipeline(options, name):
    path = options.work / f"{name}.toml"
    path.write_text(PIPELINE.format(component=options.component, name=name))
    return path


def wasmpipe(options, *words):
    done = subprocess.run([options.wasmpipe, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"wasmpipe {' '.join(map(str, words))}: {done.returncode}\n{done.stderr}"
    return done.stdout


def run_to_its_end(options, pipeline):
    summary = pipeline.with_suffix(".json")
    wasmpipe(options, "run", "-q", "--summary", summary, pipeline)
    return json.loads(summary.read_text())


def rows_in(folder):
    return [row for path in sorted(folder.glob("*.parquet")) for row in rows_of(path)]


def rows_of(path):
    table = pq.read_table(path, columns=["id", "n", "double"])
    return list(zip(*(table[name].to_pylist() for name in table.column_names)))


def assert_whole(rows):
    found = collections.Counter(rows)
    expected = collections.Counter((f"id-{n}", n, 2 * n) for n in range(FILES * ROWS_OF_FILE))
    lost, doubled = expected - found, found - expected
    assert not lost and not doubled, f"{lost.total()} rows lost, such as {list(lost)[:3]}; {doubled.total()} too many, such as {list(doubled)[:3]}"
    say(f"   both outputs together: {found.total()} rows, each once, as an undisturbed run gives")


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    main()

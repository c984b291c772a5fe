"""The peers' side of `cargo xtask bench resume`: what others do with the job that a checkpoint has done four fifths of.

    peers.py duckdb|polars|ray --source FOLDER --checkpoint FOLDER --out FOLDER

Each reads Parquet files with the column `id`, leaves out the rows whose id stands in the checkpoint's Parquet files, and writes
the others as Parquet. DuckDB and Polars do that alone, an anti-join; Ray Data does it as part of a job with a checkpoint of its
own, whose `map_batches` returns what it gets, as in Ray's pull request 60294. Ray adds files to the folder of the checkpoint.
"""

import argparse
import pathlib

# Ray Data hangs where it sees two CPUs only.
RAY_CPUS = 8
# As in Ray's pull request.
RAY_BATCH_ROWS = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=["duckdb", "polars", "ray"])
    for name in ["source", "checkpoint", "out"]:
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    {"duckdb": duckdb_job, "polars": polars_job, "ray": ray_job}[options.peer](options)


def duckdb_job(options):
    import duckdb

    # Which file a row came from does not matter; DuckDB needs less memory when told so.
    duckdb.sql("SET preserve_insertion_order = false")
    duckdb.sql(
        f"""COPY (SELECT source.id FROM read_parquet('{options.source}/*.parquet') AS source
                  ANTI JOIN read_parquet('{options.checkpoint}/*.parquet') AS done ON source.id = done.id)
            TO '{options.out}/out.parquet' (FORMAT parquet)"""
    )


def polars_job(options):
    import polars

    source = polars.scan_parquet(options.source / "*.parquet")
    done = polars.scan_parquet(options.checkpoint / "*.parquet")
    source.join(done, on="id", how="anti", maintain_order="none").sink_parquet(options.out / "out.parquet")


def ray_job(options):
    import ray
    from ray.data.checkpoint import CheckpointConfig

    ray.init(num_cpus=RAY_CPUS, include_dashboard=False)
    ray.data.DataContext.get_current().checkpoint_config = CheckpointConfig(
        id_column="id", checkpoint_path=str(options.checkpoint), delete_checkpoint_on_success=False
    )
    rows = ray.data.read_parquet(str(options.source)).map_batches(lambda batch: batch, batch_size=RAY_BATCH_ROWS)
    rows.write_parquet(str(options.out))


if __name__ == "__main__":
    main()

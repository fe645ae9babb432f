//! Reads a file of 4 GB at random in constant memory. Run with `cargo test --test large_files -- --ignored`.
#![cfg(target_os = "linux")]

use armilla::data::{FieldFile, MapPaths, MapSet};
use hdf5_pure::{File, FileBuilder, MaxExtent};

/// As many maps, and of that side, as a file of the CAMELS Multifield Dataset has.
const MAPS: usize = 15_000;
const SIDE: usize = 256;
/// Batches and the bookkeeping of 15,000 chunks: far below the 3.9 GB of the file.
const MEMORY_MB: f64 = 150.0;

/// The resident size of this process now, in MB.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
#[ignore = "writes 4 GB"]
fn four_gigabytes_are_read_at_random_in_constant_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("maps.h5");
    let (maps, side) = (MAPS as u64, SIDE as u64);
    let mut builder = FileBuilder::new();
    builder
        .create_dataset("maps")
        .with_f32_data(&[])
        .with_shape(&[0, side, side])
        .with_maxshape(&[
            MaxExtent::Unlimited,
            MaxExtent::Fixed(side),
            MaxExtent::Fixed(side),
        ])
        .with_chunks(&[1, side, side]);
    let params: Vec<f64> = (0..MAPS / 15).map(|i| i as f64).collect();
    builder
        .create_dataset("params")
        .with_f64_data(&params)
        .with_shape(&[maps / 15, 1]);
    builder.write(&path).unwrap();
    {
        let session = File::open_rw(&path).unwrap();
        let mut dataset = session.dataset("maps").unwrap();
        let mut appender = dataset.buffered_appender().unwrap();
        for i in 0..MAPS {
            // Each pixel tells its map and its place.
            let map: Vec<f32> = (0..SIDE * SIDE).map(|p| (i * 64 + p % 64) as f32 + 1.0).collect();
            appender.append(&map).unwrap();
        }
        appender.finish().unwrap();
    }
    assert!(std::fs::metadata(&path).unwrap().len() > 3_900_000_000);
    let before = resident_mb();
    let set = MapSet::open(&[&path], &MapPaths::default()).unwrap();
    assert_eq!((set.len(), set.simulations()), (MAPS, 1000));
    let mut most = 0f64;
    let mut pick = 1usize;
    let start = std::time::Instant::now();
    const BATCHES: usize = 200;
    for _ in 0..BATCHES {
        let picks: Vec<usize> = (0..32)
            .map(|_| {
                pick = (pick * 7919 + 12_345) % MAPS;
                pick
            })
            .collect();
        let batch = set.read_maps(&picks).unwrap();
        for (map, i) in batch.chunks_exact(SIDE * SIDE).zip(picks) {
            assert_eq!(
                (map[0], map[70]),
                ((i * 64) as f32 + 1.0, (i * 64 + 6) as f32 + 1.0)
            );
        }
        most = most.max(resident_mb());
    }
    let read = (BATCHES * 32 * SIDE * SIDE * 4) as f64 / 1e6;
    eprintln!(
        "{:.0} MB/s, {:.0} MB more than before",
        read / start.elapsed().as_secs_f64(),
        most - before
    );
    assert!(most - before < MEMORY_MB, "{before} MB became {most} MB");
    let file = FieldFile::open(&path, &MapPaths::default()).unwrap();
    assert_eq!(file.read(MAPS - 1).unwrap()[0], ((MAPS - 1) * 64) as f32 + 1.0);
}

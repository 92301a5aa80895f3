//! What this test's own process has of its program.
#![cfg(target_os = "linux")]

/// Constants of this program that are larger than its libraries, which stay.
static TABLE: [u8; 16 << 20] = [7; 16 << 20];

fn read_table() -> u64 {
    std::hint::black_box(&TABLE).iter().map(|&byte| u64::from(byte)).sum()
}

/// One test in the program, so that nobody else touches pages meanwhile.
#[test]
fn pages_are_let_go_of_and_come_again_when_they_are_needed() {
    let word = std::hint::black_box("a constant of the program");
    let sum = read_table();
    let before = footprint::program_bytes().unwrap();
    footprint::let_go().unwrap();
    let after = footprint::program_bytes().unwrap();
    assert!(after < before / 2, "{after} of {before} bytes are still there");

    assert_eq!(read_table(), sum);
    assert_eq!(sum, 7 * (16 << 20));

    // Code, constants and what was relocated are what they were.
    assert_eq!(word, String::from_utf8(b"a constant of the program".to_vec()).unwrap());
    let sorted: std::collections::BTreeSet<String> = (0..100).map(|n| format!("{n:02}")).collect();
    assert_eq!(sorted.first().map(String::as_str), Some("00"));
    assert!(format!("{:?}", std::fs::File::open("/no/such/file").unwrap_err()).contains("No such"));
    footprint::let_go().unwrap();
    assert!(std::thread::spawn(|| "another thread").join().is_ok());
}

//! Sessions that another implementation can check itself against, and that this one must go on
//! reading. `TRACER_UPDATE_SNAPSHOT=1` makes new ones.

use std::{env, fs, path::Path};

use serde_json::{Value, json};

use super::{
    fixture::{MINUTE, NOW, Session},
    follow,
};
use crate::{Accepted, Body, Frame, Opener, RecipientSecret, Record, SigningKey, Stream, identity};

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

fn kind(record: &Record) -> &'static str {
    match record.claims().body {
        Body::Epoch(_) => "epoch",
        Body::Batch(_) => "batch",
        Body::Gap(_) => "gap",
        Body::Closing => "closing",
    }
}

/// A session with two epochs and a gap.
fn written(stream: Stream) -> Value {
    let times = [NOW, NOW + 1, NOW + 2, NOW + 11 * MINUTE];
    let session = Session::sealed_at(stream, times);
    let mut opened = session.opened().into_iter();
    let mut records = Vec::new();
    for record in &session.records {
        let ndjson = match record.claims().body {
            Body::Batch(_) => opened.next().map(|contents| contents.ndjson().to_vec()),
            Body::Epoch(_) | Body::Gap(_) | Body::Closing => None,
        };
        records.push((record.clone(), ndjson));
    }
    records.splice(2..4, [(session.gap(2..=3), None)]);
    let records: Vec<_> = records
        .iter()
        .map(|(record, ndjson)| {
            json!({
                "kind": kind(record),
                "epoch": record.claims().epoch.0,
                "first": record.claims().first().0,
                "sequence": record.claims().sequence.0,
                "hash": record.hash().to_string(),
                "link": record.link().to_string(),
                "ndjson": ndjson.as_ref().map(|lines| String::from_utf8(lines.clone()).unwrap()),
                "bytes": hex(&record.to_bytes()),
            })
        })
        .collect();
    json!({
        "stream": stream.to_string(),
        "agent_seed": hex(&[1; 32]),
        "agent": session.key.agent().to_string(),
        "recipient_secret": hex(&session.recipient.to_bytes()[..]),
        "recipient": session.recipient.recipient().to_string(),
        "session": session.records[0].claims().session.to_string(),
        "records": records,
    })
}

#[test]
fn the_checked_in_sessions_are_read_as_they_were_written() {
    for stream in [Stream::Telemetry, Stream::Content] {
        let file = path(&format!("{stream}.json"));
        if env::var_os("TRACER_UPDATE_SNAPSHOT").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            let text = serde_json::to_string_pretty(&written(stream)).unwrap();
            fs::write(&file, text + "\n").unwrap();
        }
        let vector: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let seed = identity::hex(vector["agent_seed"].as_str().unwrap()).unwrap();
        let key = SigningKey::from_seed(&seed).unwrap();
        assert_eq!(vector["agent"], key.agent().to_string());
        let secret = identity::hex(vector["recipient_secret"].as_str().unwrap()).unwrap();
        let secret = RecipientSecret::from_bytes(&secret).unwrap();
        assert_eq!(vector["recipient"], secret.recipient().to_string());

        let mut opener = Opener::new(secret);
        let mut records = Vec::new();
        for expected in vector["records"].as_array().unwrap() {
            let encoded = bytes(&expected["bytes"]);
            let record = Record::parse(&encoded).unwrap();
            assert_eq!(record.to_bytes(), encoded);
            let claims = record.claims();
            assert_eq!(
                claims.session.to_string(),
                vector["session"].as_str().unwrap()
            );
            assert_eq!(claims.stream, stream);
            assert_eq!(expected["kind"], kind(&record));
            assert_eq!(expected["epoch"], claims.epoch.0);
            assert_eq!(expected["first"], claims.first().0);
            assert_eq!(expected["sequence"], claims.sequence.0);
            assert_eq!(expected["hash"], record.hash().to_string());
            assert_eq!(expected["link"], record.link().to_string());
            // Claims and signature come out the same again.
            let again = Record::sign(claims.clone(), record.sealed().to_vec(), &key);
            assert_eq!(again, record);
            opener.learn(&record).unwrap();
            if let Some(lines) = expected["ndjson"].as_str() {
                assert_eq!(opener.open(&record).unwrap().ndjson(), lines.as_bytes());
            }
            records.push(record);
        }
        let (verifier, accepted) = follow(&records).unwrap();
        assert!(accepted.iter().all(|&accepted| accepted == Accepted::Next));
        assert_eq!(verifier.finish(), Ok(()));
    }
}

/// Bytes of a record with a claim changed, and the error that names it.
#[test]
fn malformed_records_are_refused_with_the_place_and_the_reason() {
    let session = Session::sealed(Stream::Telemetry, 1);
    let [epoch, batch] = [0, 1].map(|place| session.records[place].to_bytes());
    let with = |bytes: &[u8], at: usize, value: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] = value;
        Record::parse(&bytes).unwrap_err().to_string()
    };
    // Four bytes of length stand before the claims.
    let claims = 4;
    assert_eq!(
        with(&epoch, claims, 2),
        "the record's version is 2, which this version does not know"
    );
    assert_eq!(
        with(&epoch, claims + 1, 9),
        "the record's kind is 9, which this version does not know"
    );
    assert_eq!(
        with(&epoch, claims + 50, 7),
        "the stream is 7, which this version does not know"
    );
    assert_eq!(
        with(&epoch, claims + 95 + 40, 0xff),
        "the HPKE suite (KEM, KDF, AEAD) is 280512904101891, which this version does not know"
    );
    assert_eq!(
        with(&epoch, 0, 0xff),
        "a record's claims: 4278190335 are more than the limit, 8192"
    );
    assert_eq!(
        with(&batch, claims + 95 + 20 + 2 + 2, b'I'),
        "a batch contradicts itself: a kind's name is none"
    );
    assert_eq!(
        Record::parse(&batch[..batch.len() - 3])
            .unwrap_err()
            .to_string(),
        "a record's signature is cut off: 3 bytes are missing"
    );
}

/// The fuzz targets begin with these.
#[test]
fn the_seeds_of_the_fuzz_targets_are_frames() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds/frame");
    if env::var_os("TRACER_UPDATE_SNAPSHOT").is_some() {
        fs::create_dir_all(&seeds).unwrap();
        let session = Session::sealed(Stream::Telemetry, 2);
        for (place, name) in ["epoch", "batch"].into_iter().enumerate() {
            let frame = Frame::Record(Box::new(session.records[place].clone()));
            fs::write(seeds.join(name).with_extension("bin"), frame.to_bytes()).unwrap();
        }
        let gap = Frame::Record(Box::new(session.gap(1..=2)));
        fs::write(seeds.join("gap.bin"), gap.to_bytes()).unwrap();
    }
    let mut read = 0;
    for seed in fs::read_dir(&seeds).unwrap() {
        let mut reader = crate::FrameReader::new();
        reader.push(&fs::read(seed.unwrap().path()).unwrap());
        assert!(matches!(reader.next_frame(), Ok(Some(Frame::Record(_)))));
        assert_eq!(reader.finish(), Ok(()));
        read += 1;
    }
    assert_eq!(read, 3);
}

//! A batch that came back, taken apart into what a [`Ledger`] is told.

use std::ops::Range;

use bytes::Bytes;
use corelog::record::{BatchHeader, records};

use super::ledger::Ledger;
use super::numbered::Numbered;

/// Records of one producer that stand one behind the other, with numbers one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The producer.
    pub producer: u32,
    /// Their numbers.
    pub sequences: Range<u64>,
    /// The offset of the first one.
    pub offset: i64,
    /// When they were meant to be sent, nanoseconds from the start of the load.
    pub intended_ns: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
}

/// What a batch holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The records of the run that was asked for.
    pub runs: Vec<Run>,
    /// What is wrong, in words: a record that is not what was sent, or in another partition than it was sent to.
    pub faults: Vec<String>,
}

/// Reads the records of a batch from `offset` on. The batch's own checksum has been checked. Records of other runs are
/// passed over.
pub fn read(header: &BatchHeader, batch: &Bytes, offset: i64, partition: u32, run: u64) -> Reading {
    let mut reading = Reading::default();
    if header.is_control() {
        return reading;
    }
    let at = |offset: i64| format!("partition {partition}, offset {offset}");
    let all = match records(batch) {
        Ok(all) => all,
        Err(error) => {
            reading.faults.push(format!("{}: the batch cannot be read: {error}", at(header.base_offset)));
            return reading;
        }
    };
    for record in all {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                reading.faults.push(format!("{}: a record cannot be read: {error}", at(header.base_offset)));
                return reading;
            }
        };
        if record.offset < offset {
            continue;
        }
        let value = record.value.unwrap_or_default();
        let Some(numbered) = Numbered::read(&value) else {
            reading.faults.push(format!("{}: the record is not what was sent", at(record.offset)));
            continue;
        };
        if numbered.run != run {
            continue;
        }
        if numbered.partition != partition {
            let (producer, sequence) = (numbered.producer, numbered.sequence);
            let sent_to = numbered.partition;
            let what = format!("record {sequence} of producer {producer} was sent to partition {sent_to}");
            reading.faults.push(format!("{}: {what}", at(record.offset)));
            continue;
        }
        let value_bytes = value.len() as u64;
        match reading.runs.last_mut() {
            Some(last)
                if last.producer == numbered.producer
                    && last.sequences.end == numbered.sequence
                    && last.intended_ns == numbered.intended_ns
                    && last.offset + (last.sequences.end - last.sequences.start) as i64 == record.offset =>
            {
                last.sequences.end += 1;
                last.value_bytes += value_bytes;
            }
            _ => reading.runs.push(Run {
                producer: numbered.producer,
                sequences: numbered.sequence..numbered.sequence + 1,
                offset: record.offset,
                intended_ns: numbered.intended_ns,
                value_bytes,
            }),
        }
    }
    reading
}

impl Reading {
    /// Tells the ledger.
    pub fn tell(&self, partition: u32, ledger: &mut Ledger) {
        for run in &self.runs {
            ledger.deliver(run.producer, partition, run.sequences.clone(), run.offset);
        }
        for fault in &self.faults {
            ledger.corrupt(fault.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use corelog::record::BatchBuilder;

    use super::*;

    fn numbered(run: u64, producer: u32, partition: u32, sequence: u64) -> Vec<u8> {
        let mut value = Vec::new();
        Numbered { run, producer, partition, sequence, intended_ns: 5 }.append(&mut value, b"pad");
        value
    }

    fn reading(values: &[Vec<u8>], offset: i64) -> Reading {
        let mut builder = BatchBuilder::new().base_offset(100);
        for value in values {
            builder.append(1, None, Some(value), &[]);
        }
        let batch = builder.build().expect("a batch");
        read(&BatchHeader::parse(&batch).expect("a header"), &batch, offset, 3, 7)
    }

    #[test]
    fn records_in_order_are_one_run_and_a_gap_ends_it() {
        let values = [0, 1, 2, 4, 5].map(|sequence| numbered(7, 1, 3, sequence));
        let reading = reading(&values, 101);
        let run = |sequences: Range<u64>, offset| Run {
            producer: 1,
            value_bytes: (sequences.end - sequences.start) * 39,
            sequences,
            offset,
            intended_ns: 5,
        };
        assert_eq!(reading, Reading { runs: vec![run(1..3, 101), run(4..6, 103)], faults: Vec::new() });
    }

    #[test]
    fn other_runs_are_passed_over_and_faults_are_named() {
        let mut damaged = numbered(7, 1, 3, 1);
        damaged[20] ^= 1;
        let reading = reading(&[numbered(7, 1, 3, 0), damaged, numbered(8, 1, 3, 2), numbered(7, 1, 4, 9)], 100);
        assert_eq!(reading.runs.len(), 1);
        assert_eq!(
            reading.faults,
            [
                "partition 3, offset 101: the record is not what was sent",
                "partition 3, offset 103: record 9 of producer 1 was sent to partition 4"
            ]
        );
        let mut ledger = Ledger::default();
        reading.tell(3, &mut ledger);
        assert_eq!((ledger.check().delivered, ledger.check().corrupted), (1, 2));
    }
}

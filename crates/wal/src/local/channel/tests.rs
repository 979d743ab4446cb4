//! Tests of `channel`.

use std::path::PathBuf;

use holdfast_disk::SimDisk;

use super::*;

fn channel(disk: &SimDisk) -> OpenChannel {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = Options {
        segment_bytes: 64 << 10,
        reserve_bytes: 0,
        ..Options::default()
    };
    Channel::open(&disk, &PathBuf::from("/wal"), ChannelId(1), &options).unwrap()
}

#[tokio::test]
async fn a_takeover_decides_every_append_of_the_old_writer() {
    let disk = SimDisk::new(1);
    let open = channel(&disk);
    let (old, _) = open.channel().take_over(Epoch(1)).unwrap();
    let appends: Vec<_> = (0..500_u64)
        .map(|i| old.append(i.to_string().into()))
        .collect();
    let (_new, last) = open.channel().take_over(Epoch(2)).unwrap();
    let mut fenced = false;
    for (lsn, done) in appends {
        match done.await {
            Ok(decided) => {
                assert!(!fenced && decided == lsn && lsn <= last, "{lsn} of {last}");
            }
            Err(AppendError::Fenced { newer }) => {
                assert!(newer == Epoch(2) && lsn > last);
                fenced = true;
            }
            Err(e) => panic!("{e}"),
        }
    }
}

#[tokio::test]
async fn a_closed_channel_has_written_what_was_queued_and_refuses_more() {
    let disk = SimDisk::new(1);
    let open = channel(&disk);
    let (writer, _) = open.channel().take_over(Epoch(1)).unwrap();
    let appends: Vec<_> = (0..50_u64)
        .map(|i| writer.append(i.to_string().into()).1)
        .collect();
    drop(open);
    for done in appends {
        done.await.unwrap();
    }
    let late = writer.append(Bytes::from_static(b"late")).1.await;
    assert!(matches!(late, Err(AppendError::Closed)));
    assert!(matches!(
        writer.channel.take_over(Epoch(2)),
        Err(WalError::Closed)
    ));
    disk.cut_power();
    assert_eq!(channel(&disk).channel().view().borrow().committed, Lsn(50));
}

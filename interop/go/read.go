package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// readChecks are everything a consumer does: positions, offsets by time, a group of one, waiting.
func readChecks() []check {
	return []check{
		{"seek", seek},
		{"seek-timestamp", seekTimestamp},
		{"max-timestamp", maxTimestamp},
		{"out-of-range-reset", outOfRange},
		{"group-resume", groupResume},
		{"manual-assign-commit", manualAssign},
		{"long-poll", longPoll},
		{"unknown-topic", unknownTopic},
	}
}

// hourly makes a topic of one partition with records 0, 1 ... an hour apart, the last one at now.
func hourly(s *suite, name string, count int, now time.Time) (string, error) {
	topic, err := s.create(name, 1)
	if err != nil {
		return "", err
	}
	for i := range count {
		at := now.Add(-time.Duration(count-1-i) * time.Hour)
		record := &kgo.Record{Topic: topic, Timestamp: at, Value: []byte(strconv.Itoa(i))}
		if _, err := s.send([]*kgo.Record{record}); err != nil {
			return "", err
		}
	}
	return topic, nil
}

func (s *suite) firstFrom(topic string, at kgo.Offset) (int64, error) {
	got, err := s.read(topic, 1, at, 0)
	if err != nil {
		return 0, err
	}
	return got[0].Offset, nil
}

func seek(s *suite) error {
	topic, err := hourly(s, "seek", 10, time.Now())
	if err != nil {
		return err
	}
	places := []struct {
		at   kgo.Offset
		want int64
	}{
		{kgo.NewOffset().AtStart(), 0},
		{kgo.NewOffset().At(7), 7},
		{kgo.NewOffset().AtEnd().Relative(-1), 9},
	}
	for _, place := range places {
		got, err := s.firstFrom(topic, place.at)
		if err := all(err, equal(place.want, got, "first record")); err != nil {
			return err
		}
	}
	starts, err := s.admin.ListStartOffsets(s.ctx, topic)
	if err != nil {
		return err
	}
	ends, err := s.admin.ListEndOffsets(s.ctx, topic)
	if err != nil {
		return err
	}
	return all(
		equal(int64(0), offsetOf(starts, topic), "start offset"),
		equal(int64(10), offsetOf(ends, topic), "end offset"),
	)
}

func offsetOf(listed kadm.ListedOffsets, topic string) int64 {
	found, _ := listed.Lookup(topic, 0)
	return found.Offset
}

func seekTimestamp(s *suite) error {
	now := time.Now().Truncate(time.Millisecond)
	topic, err := hourly(s, "by-time", 10, now)
	if err != nil {
		return err
	}
	for i := range 10 {
		exact := now.Add(-time.Duration(9-i) * time.Hour)
		for _, asked := range []time.Time{exact, exact.Add(-time.Millisecond), exact.Add(time.Millisecond - time.Hour)} {
			listed, err := s.admin.ListOffsetsAfterMilli(s.ctx, asked.UnixMilli(), topic)
			if err := all(err, equal(int64(i), offsetOf(listed, topic), "offset at a time")); err != nil {
				return err
			}
		}
	}
	listed, err := s.admin.ListOffsetsAfterMilli(s.ctx, now.UnixMilli()+1, topic)
	if err := all(err, equal(int64(10), offsetOf(listed, topic), "kadm tells the end for a time without a record")); err != nil {
		return err
	}
	got, err := s.firstFrom(topic, kgo.NewOffset().AfterMilli(now.Add(-3*time.Hour).UnixMilli()))
	return all(err, equal(int64(6), got, "first after seeking by time"))
}

func maxTimestamp(s *suite) error {
	topic, err := s.create("max-time", 1)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, hours := range []int{5, 1, 3, 2} {
		record := &kgo.Record{Topic: topic, Timestamp: now.Add(-time.Duration(hours) * time.Hour), Value: []byte("x")}
		if _, err := s.send([]*kgo.Record{record}); err != nil {
			return err
		}
	}
	listed, err := s.admin.ListMaxTimestampOffsets(s.ctx, topic)
	return all(err, equal(int64(1), offsetOf(listed, topic), "offset of the largest timestamp"))
}

func outOfRange(s *suite) error {
	topic, err := hourly(s, "range", 5, time.Now())
	if err != nil {
		return err
	}
	at := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(1000)}}
	client, err := s.client(kgo.ConsumePartitions(at), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	got, err := take(s.ctx, client, 1)
	if err := all(err); err != nil {
		return err
	}
	if err := equal(int64(0), got[0].Offset, "reset to the start"); err != nil {
		return err
	}
	strict, err := s.client(kgo.ConsumePartitions(at), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return err
	}
	defer strict.Close()
	if _, err := take(s.ctx, strict, 1); !errors.Is(err, kerr.OffsetOutOfRange) {
		return fmt.Errorf("wanted OFFSET_OUT_OF_RANGE, got %v", err)
	}
	return nil
}

func (s *suite) member(group, topic string) (*kgo.Client, error) {
	start := kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())
	return s.client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), start)
}

// takeAndCommit joins the group, takes count records, commits behind the last and leaves.
func (s *suite) takeAndCommit(group, topic string, count int) ([]*kgo.Record, error) {
	client, err := s.member(group, topic)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	got, err := take(s.ctx, client, count)
	if err != nil {
		return nil, err
	}
	return got, client.CommitRecords(s.ctx, got...)
}

func (s *suite) committed(group, topic string, partition int32) (int64, error) {
	offsets, err := s.admin.FetchOffsets(s.ctx, group)
	if err != nil {
		return 0, err
	}
	found, _ := offsets.Lookup(topic, partition)
	return found.At, found.Err
}

func groupResume(s *suite) error {
	topic, err := hourly(s, "group", 10, time.Now())
	if err != nil {
		return err
	}
	if _, err := s.takeAndCommit(topic, topic, 4); err != nil {
		return err
	}
	at, err := s.committed(topic, topic, 0)
	if err := all(err, equal(int64(4), at, "committed offset")); err != nil {
		return err
	}
	rest, err := s.takeAndCommit(topic, topic, 6)
	if err != nil {
		return err
	}
	at, err = s.committed(topic, topic, 0)
	return all(
		err,
		equal(int64(4), rest[0].Offset, "goes on at the committed offset"),
		equal(int64(10), at, "all is committed"),
	)
}

func manualAssign(s *suite) error {
	topic, err := s.create("assign", 2)
	if err != nil {
		return err
	}
	var records []*kgo.Record
	for i := range 10 {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % 2), Value: []byte(strconv.Itoa(i))})
	}
	if _, err := s.send(records, kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		return err
	}
	got, err := s.read(topic, 5, kgo.NewOffset().AtStart(), 1)
	if err != nil {
		return err
	}
	for _, record := range got {
		if err := equal(int32(1), record.Partition, "only what was assigned"); err != nil {
			return err
		}
	}
	commit := kadm.Offsets{}
	commit.AddOffset(topic, 1, 5, -1)
	if err := s.admin.CommitAllOffsets(s.ctx, topic, commit); err != nil {
		return err
	}
	at, err := s.committed(topic, topic, 1)
	return all(err, equal(int64(5), at, "committed offset"))
}

func longPoll(s *suite) error {
	topic, err := s.create("long-poll", 1)
	if err != nil {
		return err
	}
	fetching := make(chan struct{}, 64)
	from := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}
	client, err := s.client(
		kgo.ConsumePartitions(from), kgo.FetchMaxWait(20*time.Second), kgo.WithHooks(fetchSent(fetching)))
	if err != nil {
		return err
	}
	defer client.Close()
	select {
	case <-fetching:
	case <-s.ctx.Done():
		return errors.New("no fetch was sent")
	}
	sent := time.Now()
	if _, err := s.send([]*kgo.Record{{Topic: topic, Value: []byte("at last")}}); err != nil {
		return err
	}
	got, err := take(s.ctx, client, 1)
	if err != nil {
		return err
	}
	if waited := time.Since(sent); waited > 10*time.Second {
		return fmt.Errorf("came only after %s, so nobody was woken", waited)
	}
	return equal("at last", string(got[0].Value), "value")
}

// fetchSent tells when a fetch request has been written.
type fetchSent chan struct{}

// OnBrokerWrite is called by franz-go after each request.
func (f fetchSent) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	const fetch = 1
	if key == fetch {
		select {
		case f <- struct{}{}:
		default:
		}
	}
}

func unknownTopic(s *suite) error {
	topic := s.topic("unknown")
	records := []*kgo.Record{{Topic: topic, Value: []byte("lost")}}
	if _, err := s.send(records, kgo.UnknownTopicRetries(1)); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("wanted UNKNOWN_TOPIC_OR_PARTITION, got %v", err)
	}
	listed, err := s.admin.ListTopics(s.ctx)
	return all(err, equal(false, listed.Has(topic), "asking for it created it"))
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const limit = 1_048_588

// writeChecks are topics and everything a producer does.
func writeChecks() []check {
	checks := []check{
		{"auto-created-topic", autoCreatedTopic},
		{"create-delete-topic", createDeleteTopic},
	}
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
	}
	for _, c := range codecs {
		checks = append(checks, check{"codec-" + c.name, func(s *suite) error { return codec(s, c.name, c.codec) }})
	}
	checks = append(checks,
		check{"headers", headers},
		check{"null-key-and-value", nulls},
		check{"keyed-partitions", keyedPartitions},
		check{"acks-0", func(s *suite) error { return acks(s, "0", kgo.NoAck()) }},
		check{"acks-1", func(s *suite) error { return acks(s, "1", kgo.LeaderAck()) }},
		check{"acks-all", func(s *suite) error { return acks(s, "all", kgo.AllISRAcks()) }},
		check{"idempotent-concurrent", idempotentConcurrent},
		check{"large-message", largeMessage},
		check{"too-large-message", tooLargeMessage},
	)
	return checks
}

func autoCreatedTopic(s *suite) error {
	topic := s.topic("auto")
	record := &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("v")}
	if _, err := s.send([]*kgo.Record{record}, kgo.AllowAutoTopicCreation()); err != nil {
		return err
	}
	got, err := s.readOne(topic, 1)
	if err != nil {
		return err
	}
	return all(equal(int64(0), record.Offset, "offset"), equal("v", string(got[0].Value), "value"))
}

func createDeleteTopic(s *suite) error {
	topic, err := s.create("create", 3)
	if err != nil {
		return err
	}
	partitions := func(want int) func() (bool, error) {
		return func() (bool, error) {
			listed, err := s.admin.ListTopics(s.ctx, topic)
			return err == nil && len(listed[topic].Partitions) == want, err
		}
	}
	if err := s.until("listed with 3 partitions", partitions(3)); err != nil {
		return err
	}
	if _, err := s.create("create", 3); !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("second CreateTopic: %v", err)
	}
	if _, err := s.admin.DeleteTopic(s.ctx, topic); err != nil {
		return err
	}
	if err := s.until("gone", partitions(0)); err != nil {
		return err
	}
	if _, err := s.admin.DeleteTopic(s.ctx, topic); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("second DeleteTopic: %v", err)
	}
	return nil
}

func codec(s *suite, name string, codec kgo.CompressionCodec) error {
	topic, err := s.create("codec-"+name, 1)
	if err != nil {
		return err
	}
	var records []*kgo.Record
	for i := range 500 {
		value := strings.Repeat(fmt.Sprintf("record %d of water on its way down ", i), 1+i%17)
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(strconv.Itoa(i)), Value: []byte(value)})
	}
	if _, err := s.send(records, kgo.ProducerBatchCompression(codec)); err != nil {
		return err
	}
	got, err := s.readOne(topic, len(records))
	if err != nil {
		return err
	}
	for i, record := range got {
		if err := all(
			equal(int64(i), record.Offset, "offset"),
			equal(string(records[i].Key), string(record.Key), "key"),
			equal(string(records[i].Value), string(record.Value), "value"),
		); err != nil {
			return err
		}
	}
	return nil
}

func headers(s *suite) error {
	topic, err := s.create("headers", 1)
	if err != nil {
		return err
	}
	sent := []kgo.RecordHeader{
		{Key: "twice", Value: []byte("one")},
		{Key: "none", Value: nil},
		{Key: "twice", Value: []byte("two")},
		{Key: "empty", Value: []byte{}},
		{Key: "물길", Value: []byte("물")},
	}
	if _, err := s.send([]*kgo.Record{{Topic: topic, Value: []byte("v"), Headers: sent}}); err != nil {
		return err
	}
	got, err := s.readOne(topic, 1)
	if err != nil {
		return err
	}
	same := func(a, b kgo.RecordHeader) bool {
		return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil)
	}
	if !slices.EqualFunc(sent, got[0].Headers, same) {
		return fmt.Errorf("headers: wanted %v, got %v", sent, got[0].Headers)
	}
	return nil
}

func nulls(s *suite) error {
	topic, err := s.create("nulls", 1)
	if err != nil {
		return err
	}
	sent := []*kgo.Record{
		{Topic: topic, Key: nil, Value: []byte("no key")},
		{Topic: topic, Key: []byte("no value"), Value: nil},
		{Topic: topic, Key: nil, Value: nil},
		{Topic: topic, Key: []byte{}, Value: []byte{}},
	}
	if _, err := s.send(sent); err != nil {
		return err
	}
	got, err := s.readOne(topic, 4)
	if err != nil {
		return err
	}
	for i := range sent {
		if err := all(
			equal(sent[i].Key == nil, got[i].Key == nil, fmt.Sprintf("key %d is null", i)),
			equal(sent[i].Value == nil, got[i].Value == nil, fmt.Sprintf("value %d is null", i)),
			equal(string(sent[i].Value), string(got[i].Value), "value"),
		); err != nil {
			return err
		}
	}
	return nil
}

func keyedPartitions(s *suite) error {
	topic, err := s.create("keyed", 4)
	if err != nil {
		return err
	}
	var records []*kgo.Record
	for i := range 400 {
		key := fmt.Sprintf("key-%d", i%37)
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(strconv.Itoa(i))})
	}
	if _, err := s.send(records); err != nil {
		return err
	}
	got, err := s.read(topic, len(records), kgo.NewOffset().AtStart(), 0, 1, 2, 3)
	if err != nil {
		return err
	}
	partitionOf, lastOf, offsetIn := map[string]int32{}, map[string]int{}, map[int32]int64{}
	for _, record := range got {
		key := string(record.Key)
		if partition, seen := partitionOf[key]; seen && partition != record.Partition {
			return fmt.Errorf("%s is in %d and in %d", key, partition, record.Partition)
		}
		partitionOf[key] = record.Partition
		if err := equal(offsetIn[record.Partition], record.Offset, "offset"); err != nil {
			return err
		}
		offsetIn[record.Partition]++
		number, err := strconv.Atoi(string(record.Value))
		if last, seen := lastOf[key]; err != nil || seen && last >= number {
			return fmt.Errorf("%s: %d came after %d (%v)", key, number, last, err)
		}
		lastOf[key] = number
	}
	return equal(4, len(offsetIn), "partitions in use")
}

func acks(s *suite, name string, acks kgo.Acks) error {
	topic, err := s.create("acks-"+name, 1)
	if err != nil {
		return err
	}
	opts := []kgo.Opt{kgo.RequiredAcks(acks)}
	if name != "all" {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	var records []*kgo.Record
	for i := range 20 {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(strconv.Itoa(i))})
	}
	if _, err := s.send(records, opts...); err != nil {
		return err
	}
	got, err := s.readOne(topic, 20)
	if err != nil {
		return err
	}
	for i, record := range got {
		if err := equal(strconv.Itoa(i), string(record.Value), "value"); err != nil {
			return err
		}
	}
	return nil
}

func idempotentConcurrent(s *suite) error {
	topic, err := s.create("idempotent", 2)
	if err != nil {
		return err
	}
	client, err := s.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(200))
	if err != nil {
		return err
	}
	defer client.Close()
	const lines, each = 4, 1000
	var sending sync.WaitGroup
	failures := make(chan error, lines*each)
	for line := range lines {
		sending.Add(1)
		go func() {
			defer sending.Done()
			for i := range each {
				value := fmt.Appendf(nil, "%d %d", line, i)
				record := &kgo.Record{Topic: topic, Partition: int32(line % 2), Value: value}
				client.Produce(s.ctx, record, func(_ *kgo.Record, err error) { failures <- err })
			}
		}()
	}
	sending.Wait()
	for range lines * each {
		if err := <-failures; err != nil {
			return err
		}
	}
	got, err := s.read(topic, lines*each, kgo.NewOffset().AtStart(), 0, 1)
	if err != nil {
		return err
	}
	var next [lines]int
	for _, record := range got {
		var line, number int
		if _, err := fmt.Sscanf(string(record.Value), "%d %d", &line, &number); err != nil {
			return err
		}
		if err := equal(next[line], number, fmt.Sprintf("next of line %d", line)); err != nil {
			return err
		}
		next[line]++
	}
	return nil
}

func noise(size int) []byte {
	value := make([]byte, size)
	source := rand.New(rand.NewSource(7))
	for i := range value {
		value[i] = byte(source.Intn(256))
	}
	return value
}

func largeMessage(s *suite) error {
	topic, err := s.create("large", 1)
	if err != nil {
		return err
	}
	value := noise(limit - 100)
	if _, err := s.send([]*kgo.Record{{Topic: topic, Value: value}}, kgo.ProducerBatchMaxBytes(4*limit)); err != nil {
		return err
	}
	got, err := s.readOne(topic, 1)
	if err != nil {
		return err
	}
	return equal(true, bytes.Equal(value, got[0].Value), "the same bytes")
}

func tooLargeMessage(s *suite) error {
	topic, err := s.create("too-large", 1)
	if err != nil {
		return err
	}
	large := []*kgo.Record{{Topic: topic, Value: noise(limit + 1)}}
	if _, err := s.send(large, kgo.ProducerBatchMaxBytes(4*limit)); !errors.Is(err, kerr.MessageTooLarge) {
		return fmt.Errorf("wanted MESSAGE_TOO_LARGE, got %v", err)
	}
	if _, err := s.send([]*kgo.Record{{Topic: topic, Value: []byte("small")}}); err != nil {
		return err
	}
	got, err := s.readOne(topic, 1)
	if err != nil {
		return err
	}
	return equal("small", string(got[0].Value), "value")
}

// Command sarama asks a broker what exporters of metrics ask, with the client that they are made with.
//
//	go run . BOOTSTRAP [NAME...]
//
// kafka_exporter, Burrow and others are built on Sarama and tell brokers, the offsets of partitions,
// and the members and the lag of groups. Each check makes a topic and a group of which it knows all of
// that, and compares. It runs with the protocol of Kafka 2.0, which kafka_exporter asks for unless it
// is told otherwise, and with the newest that Sarama knows.
//
// It prints a line for each check and exits 1 if one failed. A check waits for a condition and has a
// deadline; names carry the time of the run.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

const deadline = 60 * time.Second

type check struct {
	name string
	run  func(*suite) error
}

// suite holds what the checks share: where the broker is, and the version that they speak.
type suite struct {
	bootstrap string
	run       string
	version   sarama.KafkaVersion
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go run . BOOTSTRAP [NAME...]")
		os.Exit(2)
	}
	good := true
	for _, version := range []sarama.KafkaVersion{sarama.V2_0_0_0, sarama.MaxVersion} {
		s := &suite{
			bootstrap: os.Args[1],
			run:       version.String() + "-" + strconv.FormatInt(time.Now().UnixMilli(), 36),
			version:   version,
		}
		for _, c := range checks {
			name := c.name + "-" + version.String()
			if wanted := os.Args[2:]; len(wanted) > 0 && !slices.Contains(wanted, name) {
				continue
			}
			if err := c.run(s); err != nil {
				fmt.Printf("FAIL %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
				good = false
			} else {
				fmt.Println("ok", name)
			}
		}
	}
	if !good {
		os.Exit(1)
	}
}

func (s *suite) config() *sarama.Config {
	config := sarama.NewConfig()
	config.ClientID = "mulgil-interop"
	config.Version = s.version
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	config.Metadata.AllowAutoTopicCreation = false
	return config
}

func (s *suite) client() (sarama.Client, error) {
	return sarama.NewClient([]string{s.bootstrap}, s.config())
}

// create makes a topic and fills each of its partitions with as many records as counts says.
func (s *suite) create(client sarama.Client, name string, counts []int) (string, error) {
	topic := "sarama-" + name + "-" + s.run
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return topic, err
	}
	detail := &sarama.TopicDetail{NumPartitions: int32(len(counts)), ReplicationFactor: 1}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		return topic, err
	}
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		return topic, err
	}
	defer producer.Close()
	for partition, count := range counts {
		for i := range count {
			_, offset, err := producer.SendMessage(&sarama.ProducerMessage{
				Topic:     topic,
				Partition: int32(partition),
				Value:     sarama.StringEncoder(fmt.Sprintf("record %d", i)),
			})
			if err == nil {
				err = equal(int64(i), offset, "the offset of a record")
			}
			if err != nil {
				return topic, err
			}
		}
	}
	return topic, client.RefreshMetadata(topic)
}

// until asks again and again until the condition holds or the time is up.
func until(what string, condition func() (bool, error)) error {
	end := time.Now().Add(deadline)
	for time.Now().Before(end) {
		if held, err := condition(); held || err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("not in %s: %s", deadline, what)
}

func equal[T comparable](wanted, got T, what string) error {
	if wanted != got {
		return fmt.Errorf("%s: wanted %v, got %v", what, wanted, got)
	}
	return nil
}

func firstOf(errs ...error) error {
	return errors.Join(errs...)
}

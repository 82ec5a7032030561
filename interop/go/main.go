// Command go runs franz-go against a broker.
//
//	go run . BOOTSTRAP [NAME...]
//
// It runs the checks and prints one line each; it exits 1 if one failed. A check waits for a condition
// and has a deadline; it never sleeps in the hope that something has happened meanwhile. Topic names
// carry the time of the run, so the suite can run again and again against one broker.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const deadline = 60 * time.Second

type check struct {
	name string
	run  func(*suite) error
}

// suite holds what the checks share: where the broker is, an admin client and the context of the
// check that runs.
type suite struct {
	bootstrap string
	run       string
	admin     *kadm.Client
	ctx       context.Context
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go run . BOOTSTRAP [NAME...]")
		os.Exit(2)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Args[1]))
	if err != nil {
		fmt.Println("FAIL connect:", err)
		os.Exit(1)
	}
	s := &suite{
		bootstrap: os.Args[1],
		run:       strconv.FormatInt(time.Now().UnixMilli(), 36),
		admin:     kadm.NewClient(client),
	}
	good := true
	for _, c := range append(writeChecks(), readChecks()...) {
		if wanted := os.Args[2:]; len(wanted) > 0 && !slices.Contains(wanted, c.name) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		s.ctx = ctx
		if err := c.run(s); err != nil {
			fmt.Printf("FAIL %s: %s\n", c.name, strings.ReplaceAll(err.Error(), "\n", " "))
			good = false
		} else {
			fmt.Println("ok", c.name)
		}
		cancel()
	}
	s.admin.Close()
	if !good {
		os.Exit(1)
	}
}

func (s *suite) topic(name string) string {
	return "go-" + name + "-" + s.run
}

func (s *suite) create(name string, partitions int32) (string, error) {
	topic := s.topic(name)
	_, err := s.admin.CreateTopic(s.ctx, partitions, 1, nil, topic)
	return topic, err
}

func (s *suite) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.bootstrap)}, opts...)...)
}

// send produces the records in order and returns them with the offsets that they got.
func (s *suite) send(records []*kgo.Record, opts ...kgo.Opt) ([]*kgo.Record, error) {
	client, err := s.client(opts...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	results := client.ProduceSync(s.ctx, records...)
	return records, results.FirstErr()
}

// read gives the first count records of the topic's partitions, from the given offset on.
func (s *suite) read(topic string, count int, at kgo.Offset, partitions ...int32) ([]*kgo.Record, error) {
	from := map[int32]kgo.Offset{}
	for _, p := range partitions {
		from[p] = at
	}
	client, err := s.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return take(s.ctx, client, count)
}

func (s *suite) readOne(topic string, count int) ([]*kgo.Record, error) {
	return s.read(topic, count, kgo.NewOffset().AtStart(), 0)
}

// take polls until count records have come. More than count is an error.
func take(ctx context.Context, client *kgo.Client, count int) ([]*kgo.Record, error) {
	var got []*kgo.Record
	for len(got) < count {
		fetches := client.PollRecords(ctx, count-len(got))
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", len(got), count, err)
		}
		got = append(got, fetches.Records()...)
	}
	return got, nil
}

// until asks again and again, with a short pause, until the condition holds or the check's time is up.
func (s *suite) until(what string, condition func() (bool, error)) error {
	for {
		held, err := condition()
		if held || err != nil {
			return err
		}
		select {
		case <-s.ctx.Done():
			return fmt.Errorf("not in %s: %s", deadline, what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func equal[T comparable](wanted, got T, what string) error {
	if wanted != got {
		return fmt.Errorf("%s: wanted %v, got %v", what, wanted, got)
	}
	return nil
}

// all gives the first error.
func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/IBM/sarama"
)

var checks = []check{
	{"brokers", brokers},
	{"offsets", offsets},
	{"lag-of-a-group", lagOfAGroup},
	{"group-without-members", groupWithoutMembers},
}

func brokers(s *suite) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	defer client.Close()
	all := client.Brokers()
	if err := equal(1, len(all), "the number of brokers"); err != nil {
		return err
	}
	controller, err := client.Controller()
	if err != nil {
		return err
	}
	return firstOf(
		equal(s.bootstrap, all[0].Addr(), "the address of the broker"),
		equal(all[0].ID(), controller.ID(), "the controller"),
	)
}

// offsets looks at partitions, their leaders and replicas, and at the ends of what they hold.
func offsets(s *suite) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	defer client.Close()
	counts := []int{10, 3, 0}
	topic, err := s.create(client, "offsets", counts)
	if err != nil {
		return err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return err
	}
	if err := admin.DeleteRecords(topic, map[int32]int64{0: 4}); err != nil {
		return err
	}
	topics, err := client.Topics()
	if err != nil {
		return err
	}
	if !slices.Contains(topics, topic) {
		return fmt.Errorf("%s is not among %v", topic, topics)
	}
	partitions, err := client.Partitions(topic)
	if err != nil {
		return err
	}
	if err := equal(len(counts), len(partitions), "the number of partitions"); err != nil {
		return err
	}
	for partition, count := range counts {
		oldest := int64(0)
		if partition == 0 {
			oldest = 4
		}
		if err := s.partition(client, topic, int32(partition), oldest, int64(count)); err != nil {
			return fmt.Errorf("partition %d: %w", partition, err)
		}
	}
	return nil
}

func (s *suite) partition(client sarama.Client, topic string, partition int32, oldest, newest int64) error {
	leader, err := client.Leader(topic, partition)
	if err != nil {
		return err
	}
	replicas, err := client.Replicas(topic, partition)
	if err != nil {
		return err
	}
	inSync, err := client.InSyncReplicas(topic, partition)
	if err != nil {
		return err
	}
	first, err := client.GetOffset(topic, partition, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	end, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
	if err != nil {
		return err
	}
	if !slices.Equal(replicas, []int32{leader.ID()}) || !slices.Equal(inSync, replicas) {
		return fmt.Errorf("leader %d, replicas %v, in sync %v", leader.ID(), replicas, inSync)
	}
	return firstOf(equal(oldest, first, "the oldest offset"), equal(newest, end, "the newest offset"))
}

// lagOfAGroup lets a member read six of ten records and commit, and compares what is told of its group.
func lagOfAGroup(s *suite) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	defer client.Close()
	topic, err := s.create(client, "lag", []int{10, 2})
	if err != nil {
		return err
	}
	group, err := sarama.NewConsumerGroup([]string{s.bootstrap}, topic, s.config())
	if err != nil {
		return err
	}
	defer group.Close()
	ctx, cancel := context.WithCancel(context.Background())
	member := &member{until: 6, done: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- group.Consume(ctx, []string{topic}, member) }()
	select {
	case <-member.done:
	case err = <-ended:
		cancel()
		return fmt.Errorf("the member ended: %v", err)
	}
	err = s.told(client, topic, 1, map[int32]int64{0: 4})
	cancel()
	<-ended
	if err != nil {
		return err
	}
	if err := group.Close(); err != nil {
		return err
	}
	return s.told(client, topic, 0, map[int32]int64{0: 4})
}

// groupWithoutMembers commits offsets for a group that nobody is in.
func groupWithoutMembers(s *suite) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	defer client.Close()
	topic, err := s.create(client, "committed", []int{10, 2})
	if err != nil {
		return err
	}
	manager, err := sarama.NewOffsetManagerFromClient(topic, client)
	if err != nil {
		return err
	}
	for partition, offset := range map[int32]int64{0: 3, 1: 2} {
		of, err := manager.ManagePartition(topic, partition)
		if err != nil {
			return err
		}
		of.MarkOffset(offset, "물길")
	}
	manager.Commit()
	if err := manager.Close(); err != nil {
		return err
	}
	return s.told(client, topic, 0, map[int32]int64{0: 7, 1: 0})
}

// told asks for a group as an exporter does, and compares its members and the lag of the partitions
// that have an offset. The group has the name of its topic.
func (s *suite) told(client sarama.Client, topic string, members int, lags map[int32]int64) error {
	coordinator, err := client.Coordinator(topic)
	if err != nil {
		return err
	}
	listed, err := coordinator.ListGroups(&sarama.ListGroupsRequest{})
	if err != nil {
		return err
	}
	if _, there := listed.Groups[topic]; !there {
		return fmt.Errorf("the group %s is not listed: %v", topic, listed.Groups)
	}
	if members > 0 {
		if err := equal("consumer", listed.Groups[topic], "the group's protocol type"); err != nil {
			return err
		}
	}
	err = until("the group has its members", func() (bool, error) {
		answer, err := coordinator.DescribeGroups(&sarama.DescribeGroupsRequest{Groups: []string{topic}})
		if err != nil {
			return false, err
		}
		return len(answer.Groups) == 1 && len(answer.Groups[0].Members) == members, nil
	})
	if err != nil {
		return err
	}
	return s.lags(client, coordinator, topic, lags)
}

func (s *suite) lags(client sarama.Client, coordinator *sarama.Broker, topic string, lags map[int32]int64) error {
	request := sarama.OffsetFetchRequest{ConsumerGroup: topic, Version: 4}
	request.ZeroPartitions()
	all, err := coordinator.FetchOffset(&sarama.OffsetFetchRequest{ConsumerGroup: topic, Version: 4})
	if err != nil {
		return err
	}
	for partition := range int32(2) {
		request.AddPartition(topic, partition)
	}
	answer, err := coordinator.FetchOffset(&request)
	if err != nil {
		return err
	}
	for partition := range int32(2) {
		block := answer.GetBlock(topic, partition)
		if block == nil || block.Err != sarama.ErrNoError {
			return fmt.Errorf("partition %d: %v", partition, block)
		}
		end, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
		if err != nil {
			return err
		}
		wanted, has := lags[partition]
		if !has {
			if err := equal(int64(-1), block.Offset, "an offset that nobody committed"); err != nil {
				return err
			}
			continue
		}
		if err := equal(wanted, end-block.Offset, fmt.Sprintf("the lag of partition %d", partition)); err != nil {
			return err
		}
		of := all.GetBlock(topic, partition)
		if of == nil || of.Offset != block.Offset {
			return fmt.Errorf("among all, partition %d: %v, alone: %v", partition, of, block)
		}
	}
	return nil
}

// member reads partition 0 until it has committed an offset.
type member struct {
	until int64
	done  chan struct{}
}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for record := range claim.Messages() {
		if claim.Partition() != 0 || record.Offset >= m.until {
			continue
		}
		session.MarkMessage(record, "")
		if record.Offset+1 == m.until {
			session.Commit()
			close(m.done)
		}
	}
	return nil
}

// Command sqs-go runs the AWS SDK for Go v2 against the SQS listener of a broker.
//
//	go run . ENDPOINT [NAME...]
//
// It runs the checks and prints one line each; it exits 1 if one failed. A check waits for a condition
// and has a deadline. Queue names carry the time of the run, so the suite can run again and again.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

const deadline = 60 * time.Second

type suite struct {
	ctx context.Context
	sqs *sqs.Client
	run string
}

type check struct {
	name string
	run  func(*suite) error
}

var checks = []check{
	{"send-receive-delete", sendReceiveDelete},
	{"batches", batches},
	{"modelled-errors", modelledErrors},
	{"fifo", fifo},
	{"dead-letters", deadLetters},
	{"pages", pages},
	{"long-poll", longPoll},
	{"attributes-and-tags", attributesAndTags},
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go run . ENDPOINT [NAME...]")
		os.Exit(2)
	}
	s := &suite{
		run: strconv.FormatInt(time.Now().UnixMilli(), 36),
		sqs: sqs.New(sqs.Options{
			Region:           "us-east-1",
			BaseEndpoint:     aws.String(os.Args[1]),
			Credentials:      credentials.NewStaticCredentialsProvider("x", "x", ""),
			RetryMaxAttempts: 2,
		}),
	}
	good := true
	for _, c := range checks {
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
	if !good {
		os.Exit(1)
	}
}

func equal[T comparable](what string, got, wanted T) error {
	if got != wanted {
		return fmt.Errorf("%s: wanted %v, got %v", what, wanted, got)
	}
	return nil
}

func (s *suite) queue(name string, attributes map[string]string) (string, error) {
	stem, isFifo := strings.CutSuffix(name, ".fifo")
	full := "go-" + stem + "-" + s.run
	if isFifo {
		full += ".fifo"
	}
	made, err := s.sqs.CreateQueue(s.ctx, &sqs.CreateQueueInput{QueueName: &full, Attributes: attributes})
	if err != nil {
		return "", err
	}
	return *made.QueueUrl, nil
}

func (s *suite) receive(url string, most, wait int32) ([]types.Message, error) {
	got, err := s.sqs.ReceiveMessage(s.ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    &url,
		MaxNumberOfMessages:         most,
		WaitTimeSeconds:             wait,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
		MessageAttributeNames:       []string{"All"},
	})
	if err != nil {
		return nil, err
	}
	return got.Messages, nil
}

func (s *suite) one(url string) (types.Message, error) {
	for {
		got, err := s.receive(url, 1, 2)
		if err != nil {
			return types.Message{}, err
		}
		if len(got) > 0 {
			return got[0], nil
		}
	}
}

func (s *suite) attribute(url string, name types.QueueAttributeName) (string, error) {
	told, err := s.sqs.GetQueueAttributes(s.ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{name},
	})
	if err != nil {
		return "", err
	}
	return told.Attributes[string(name)], nil
}

func (s *suite) send(url, body string) (*sqs.SendMessageOutput, error) {
	return s.sqs.SendMessage(s.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body})
}

// The SDK compares the digests itself.
func sendReceiveDelete(s *suite) error {
	url, err := s.queue("plain", nil)
	if err != nil {
		return err
	}
	body := "é 🌊\n"
	sent, err := s.sqs.SendMessage(s.ctx, &sqs.SendMessageInput{
		QueueUrl: &url, MessageBody: &body,
		MessageAttributes: map[string]types.MessageAttributeValue{
			"text":  {DataType: aws.String("String"), StringValue: aws.String("wäter")},
			"bytes": {DataType: aws.String("Binary.raw"), BinaryValue: []byte{0, 1, 255}},
		},
	})
	if err != nil {
		return err
	}
	message, err := s.one(url)
	if err != nil {
		return err
	}
	bytes := message.MessageAttributes["bytes"]
	err = errors.Join(
		equal("id", *message.MessageId, *sent.MessageId),
		equal("body", *message.Body, body),
		equal("text", *message.MessageAttributes["text"].StringValue, "wäter"),
		equal("type", *bytes.DataType, "Binary.raw"),
		equal("bytes", string(bytes.BinaryValue), "\x00\x01\xff"),
		equal("count", message.Attributes["ApproximateReceiveCount"], "1"),
	)
	if err != nil {
		return err
	}
	handle := message.ReceiptHandle
	_, err = s.sqs.ChangeMessageVisibility(s.ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &url, ReceiptHandle: handle, VisibilityTimeout: 0,
	})
	if err != nil {
		return err
	}
	again, err := s.one(url)
	if err != nil {
		return err
	}
	if err := equal("count", again.Attributes["ApproximateReceiveCount"], "2"); err != nil {
		return err
	}
	_, err = s.sqs.DeleteMessage(s.ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: handle})
	if err != nil {
		return err
	}
	left, err := s.attribute(url, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)
	return errors.Join(err, equal("in flight", left, "0"))
}

func batches(s *suite) error {
	url, err := s.queue("batches", nil)
	if err != nil {
		return err
	}
	var entries []types.SendMessageBatchRequestEntry
	for i := range 10 {
		entry := types.SendMessageBatchRequestEntry{
			Id: aws.String(fmt.Sprint("e", i)), MessageBody: aws.String(fmt.Sprint("m", i)),
		}
		if i == 9 {
			entry.DelaySeconds = 901
		}
		entries = append(entries, entry)
	}
	told, err := s.sqs.SendMessageBatch(s.ctx, &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: entries})
	if err != nil {
		return err
	}
	if len(told.Successful) != 9 || len(told.Failed) != 1 {
		return fmt.Errorf("%d sent, %d not", len(told.Successful), len(told.Failed))
	}
	if err := equal("code", *told.Failed[0].Code, "InvalidParameterValue"); err != nil {
		return err
	}
	handles := map[string]string{}
	for len(handles) < 9 {
		got, err := s.receive(url, 10, 1)
		if err != nil {
			return err
		}
		for _, message := range got {
			handles[*message.Body] = *message.ReceiptHandle
		}
	}
	var deletes []types.DeleteMessageBatchRequestEntry
	for body, handle := range handles {
		deletes = append(deletes, types.DeleteMessageBatchRequestEntry{Id: aws.String(body), ReceiptHandle: aws.String(handle)})
	}
	gone, err := s.sqs.DeleteMessageBatch(s.ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: deletes})
	if err != nil {
		return err
	}
	return equal("deleted", len(gone.Successful), 9)
}

func modelledErrors(s *suite) error {
	url, err := s.queue("errors", nil)
	if err != nil {
		return err
	}
	_, err = s.sqs.GetQueueUrl(s.ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("nothing")})
	if none := new(types.QueueDoesNotExist); !errors.As(err, &none) {
		return fmt.Errorf("no queue: %w", err)
	}
	_, err = s.sqs.DeleteMessage(s.ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: aws.String("x")})
	if bad := new(types.ReceiptHandleIsInvalid); !errors.As(err, &bad) {
		return fmt.Errorf("no handle: %w", err)
	}
	if _, err = s.sqs.PurgeQueue(s.ctx, &sqs.PurgeQueueInput{QueueUrl: &url}); err != nil {
		return err
	}
	_, err = s.sqs.PurgeQueue(s.ctx, &sqs.PurgeQueueInput{QueueUrl: &url})
	if soon := new(types.PurgeQueueInProgress); !errors.As(err, &soon) {
		return fmt.Errorf("too soon: %w", err)
	}
	_, err = s.sqs.ReceiveMessage(s.ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 11})
	var other smithy.APIError
	if !errors.As(err, &other) {
		return fmt.Errorf("too many: %w", err)
	}
	return equal("code", other.ErrorCode(), "InvalidParameterValue")
}

func fifo(s *suite) error {
	url, err := s.queue("order.fifo", map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"})
	if err != nil {
		return err
	}
	var ids []string
	for _, body := range []string{"1", "2", "2", "3"} {
		sent, err := s.sqs.SendMessage(s.ctx, &sqs.SendMessageInput{
			QueueUrl: &url, MessageBody: aws.String(body), MessageGroupId: aws.String("g"),
		})
		if err != nil {
			return err
		}
		ids = append(ids, *sent.MessageId)
	}
	if ids[1] != ids[2] {
		return fmt.Errorf("a duplicate has an id of its own: %v", ids)
	}
	got, err := s.receive(url, 10, 2)
	if err != nil {
		return err
	}
	var bodies []string
	for _, message := range got {
		bodies = append(bodies, *message.Body)
	}
	return equal("order", strings.Join(bodies, " "), "1 2 3")
}

func deadLetters(s *suite) error {
	dead, err := s.queue("dead", nil)
	if err != nil {
		return err
	}
	arn, err := s.attribute(dead, types.QueueAttributeNameQueueArn)
	if err != nil {
		return err
	}
	policy := fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"1"}`, arn)
	url, err := s.queue("dies", map[string]string{"RedrivePolicy": policy, "VisibilityTimeout": "1"})
	if err != nil {
		return err
	}
	sent, err := s.send(url, "x")
	if err != nil {
		return err
	}
	if _, err := s.one(url); err != nil {
		return err
	}
	letter, err := s.one(dead)
	if err != nil {
		return err
	}
	if err := equal("id", *letter.MessageId, *sent.MessageId); err != nil {
		return err
	}
	if _, err := s.sqs.StartMessageMoveTask(s.ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &arn}); err != nil {
		return err
	}
	tasks, err := s.sqs.ListMessageMoveTasks(s.ctx, &sqs.ListMessageMoveTasksInput{SourceArn: &arn})
	if err != nil {
		return err
	}
	return equal("tasks", len(tasks.Results), 1)
}

func pages(s *suite) error {
	var urls []string
	for i := range 5 {
		url, err := s.queue(fmt.Sprint("page-", i), nil)
		if err != nil {
			return err
		}
		urls = append(urls, url)
	}
	var found []string
	pager := sqs.NewListQueuesPaginator(s.sqs, &sqs.ListQueuesInput{
		QueueNamePrefix: aws.String("go-page-"), MaxResults: aws.Int32(2),
	})
	for pager.HasMorePages() {
		page, err := pager.NextPage(s.ctx)
		if err != nil {
			return err
		}
		found = append(found, page.QueueUrls...)
	}
	for _, url := range urls {
		if !slices.Contains(found, url) {
			return fmt.Errorf("%s is on no page", url)
		}
	}
	return nil
}

func longPoll(s *suite) error {
	url, err := s.queue("poll", nil)
	if err != nil {
		return err
	}
	type answer struct {
		got []types.Message
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		got, err := s.receive(url, 1, 20)
		answers <- answer{got, err}
	}()
	if _, err := s.send(url, "at last"); err != nil {
		return err
	}
	select {
	case came := <-answers:
		if came.err != nil {
			return came.err
		}
		return equal("messages", len(came.got), 1)
	case <-time.After(10 * time.Second):
		return errors.New("nobody was woken")
	}
}

func attributesAndTags(s *suite) error {
	url, err := s.queue("attributes", map[string]string{"DelaySeconds": "7"})
	if err != nil {
		return err
	}
	_, err = s.sqs.SetQueueAttributes(s.ctx, &sqs.SetQueueAttributesInput{
		QueueUrl: &url, Attributes: map[string]string{"VisibilityTimeout": "77"},
	})
	if err != nil {
		return err
	}
	timeout, err := s.attribute(url, types.QueueAttributeNameVisibilityTimeout)
	if err := errors.Join(err, equal("timeout", timeout, "77")); err != nil {
		return err
	}
	if _, err = s.sqs.TagQueue(s.ctx, &sqs.TagQueueInput{QueueUrl: &url, Tags: map[string]string{"a": "b"}}); err != nil {
		return err
	}
	told, err := s.sqs.ListQueueTags(s.ctx, &sqs.ListQueueTagsInput{QueueUrl: &url})
	if err != nil {
		return err
	}
	return equal("tag", told.Tags["a"], "b")
}

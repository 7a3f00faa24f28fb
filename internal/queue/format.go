package queue

import (
	"errors"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The keys of asynq that Intake and Reclaim write.
const (
	asynqQueues     = "asynq:queues"
	asynqPending    = "asynq:{" + Deliveries + "}:pending"
	asynqTaskPrefix = "asynq:{" + Deliveries + "}:t:"
)

// The fields of asynq's TaskMessage that a new task has (asynq.proto of asynq
// v0.26). Tasks outlive the release that wrote them, so asynq keeps them.
const (
	fieldType    protowire.Number = 1
	fieldPayload protowire.Number = 2
	fieldID      protowire.Number = 3
	fieldQueue   protowire.Number = 4
	fieldRetry   protowire.Number = 5
	fieldTimeout protowire.Number = 8 // in seconds
	fieldHeaders protowire.Number = 15

	fieldKey   protowire.Number = 1
	fieldValue protowire.Number = 2
)

var errNoText = errors.New("a delivery's task has an id or a header that is no UTF-8")

// encode is the message of a delivery's task, in memory of its own.
func encode(t Task) ([]byte, error) {
	c, size := classes[t.Type], len(t.Payload)+len(t.ID)
	valid := utf8.ValidString(t.ID)
	for name, value := range t.Headers {
		size += len(name) + len(value) + 8
		valid = valid && utf8.ValidString(name) && utf8.ValidString(value)
	}
	if !valid {
		return nil, errNoText
	}
	b := make([]byte, 0, size+64)
	b = appendText(b, fieldType, t.Type)
	if len(t.Payload) > 0 {
		b = protowire.AppendTag(b, fieldPayload, protowire.BytesType)
		b = protowire.AppendBytes(b, t.Payload)
	}
	b = appendText(b, fieldID, t.ID)
	b = appendText(b, fieldQueue, c.queue)
	b = protowire.AppendTag(b, fieldRetry, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(c.retries))
	b = protowire.AppendTag(b, fieldTimeout, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(c.timeout/time.Second))
	for name, value := range t.Headers {
		b = protowire.AppendTag(b, fieldHeaders, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(sizeOf(fieldKey, name)+sizeOf(fieldValue, value)))
		b = appendText(b, fieldKey, name)
		b = appendText(b, fieldValue, value)
	}
	return b, nil
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, text)
}

func sizeOf(field protowire.Number, text string) int {
	return protowire.SizeTag(field) + protowire.SizeBytes(len(text))
}

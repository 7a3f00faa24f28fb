package queue_test

import (
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// Two releases work beside each other while one takes the other's place. These
// are tasks as they were before, and as they may be one day.

func TestADeliveryOfAnotherReleaseIsUnderstood(t *testing.T) {
	packed := queue.Pack(nil, []byte(`{"a":1}`))
	before := map[string]string{
		"scope": "rpc_1", "delivery_id": "guid", "provider": "github", "event": "push", "source": "pushed", "received_at": "2026-11-24T10:00:00Z",
	}
	after := map[string]string{"trace": "of a later release", "verified_by": "active"}
	for name, value := range before {
		after[name] = value
	}
	for name, headers := range map[string]map[string]string{"before": before, "after": after} {
		got, err := queue.DecodeDelivery(asynq.NewTaskWithHeaders(queue.TypeDeliver, packed, headers))
		if err != nil || got.Scope != "rpc_1" || got.ID != "guid" || got.Provider != forge.GitHub || got.Source != queue.Pushed ||
			string(got.Body) != `{"a":1}` || !got.ReceivedAt.Equal(time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAPayloadOfAnotherReleaseIsUnderstood(t *testing.T) {
	ensure, err := queue.DecodeHookEnsure(asynq.NewTask(queue.TypeHookEnsure, []byte(`{"connection_id":"rpc_1","why":"of a later release"}`)))
	if err != nil || ensure.ConnectionID != "rpc_1" {
		t.Errorf("%+v, %v", ensure, err)
	}
	evidence, err := queue.DecodeEvidence(asynq.NewTask(queue.TypeEvidence, []byte(`{"connection_id":"rpc_1","run_id":9007199254740993,"attempt":2}`)))
	if err != nil || evidence.RunID != 9007199254740993 {
		t.Errorf("%+v, %v", evidence, err)
	}
}

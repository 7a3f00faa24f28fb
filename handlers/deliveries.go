package handlers

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

const deliveriesPath = connectionsPath + "/{id}/deliveries"

// deliveryRoutes are for users who want to know what arrived.
func (d Deps) deliveryRoutes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-deliveries", Method: http.MethodGet, Path: deliveriesPath,
		Summary: "List the deliveries of a connection, newest first", Tags: []string{"deliveries"},
		Errors: slices.Concat(everyRoute, []int{http.StatusNotFound}),
	}, call(d.listDeliveries))
	huma.Register(api, huma.Operation{
		OperationID: "show-delivery", Method: http.MethodGet, Path: deliveriesPath + "/{delivery}",
		Summary: "Show a delivery with its payload, without secrets", Tags: []string{"deliveries"},
		Errors: slices.Concat(everyRoute, []int{http.StatusNotFound}),
	}, call(d.showDelivery))
	huma.Register(api, huma.Operation{
		OperationID: "replay-delivery", Method: http.MethodPost, Path: deliveriesPath + "/{delivery}/replay",
		Summary: "Apply a delivery again", Tags: []string{"deliveries"}, DefaultStatus: http.StatusAccepted,
		Description: "What it has done already is not done twice: a run that is known stays one occurrence.",
		Errors:      slices.Concat(everyRoute, []int{http.StatusForbidden, http.StatusNotFound, http.StatusConflict}),
	}, call(d.replayDelivery))
}

// DeliverySummary is a delivery as lists show it. It is exported because the
// API's description takes only exported types as embedded.
type DeliverySummary struct {
	ID         string       `json:"id" doc:"GitHub's GUID, GitLab's Idempotency-Key."`
	Event      string       `json:"event" doc:"In the forge's own name."`
	Action     string       `json:"action"`
	Source     queue.Source `json:"source" enum:"pushed,reconciled,truth,replayed" doc:"pushed by the forge, reconciled from its log, made up of a run that it never told of, or replayed."`
	Outcome    string       `json:"outcome" enum:"applied,nobody,failed"`
	ReceivedAt time.Time    `json:"received_at"`
	DurationMS int64        `json:"duration_ms" doc:"From its receipt to its effect."`
	Attempts   int          `json:"attempts"`
	Error      string       `json:"error" doc:"Why it was given up; empty when it was not."`
}

func summariseDelivery(d store.Delivery) DeliverySummary {
	return DeliverySummary{
		ID: d.ID, Event: d.Event, Action: d.Action, Source: d.Source, Outcome: d.Outcome, ReceivedAt: d.ReceivedAt.UTC(),
		DurationMS: d.DurationMS, Attempts: d.Attempts, Error: d.Error,
	}
}

type listDeliveriesInput struct {
	ID      string `path:"id" maxLength:"64"`
	Event   string `query:"event" maxLength:"128"`
	Outcome string `query:"outcome" enum:"applied,nobody,failed"`
	Page
}

type deliveryPage struct {
	Body struct {
		Deliveries []DeliverySummary `json:"deliveries" nullable:"false"`
		NextCursor *string           `json:"next_cursor" doc:"Null on the last page."`
	}
}

func (d Deps) listDeliveries(ctx context.Context, caller auth.Identity, in *listDeliveriesInput) (*deliveryPage, error) {
	at, id, err := readPlace(in.Cursor)
	if err != nil {
		return nil, err
	}
	list, err := d.Store.DeliveriesOf(ctx, caller.UserID, in.ID, store.DeliveryFilter{
		Event: in.Event, Outcome: in.Outcome, BeforeTime: at, BeforeID: id, Limit: in.Limit + 1,
	})
	if err != nil {
		return nil, err
	}
	var page deliveryPage
	page.Body.Deliveries, page.Body.NextCursor = pageOf(list, in.Limit, summariseDelivery, func(one store.Delivery) *string { return newPlace(one.ReceivedAt, one.ID) })
	return &page, nil
}

type deliveryPath struct {
	ID       string `path:"id" maxLength:"64"`
	Delivery string `path:"delivery" maxLength:"300"`
}

type deliveryOutput struct {
	Body struct {
		DeliverySummary
		Payload json.RawMessage `json:"payload" doc:"Without secrets; null when it was too large to be kept."`
	}
}

func (d Deps) showDelivery(ctx context.Context, caller auth.Identity, in *deliveryPath) (*deliveryOutput, error) {
	one, err := d.Store.DeliveryOf(ctx, caller.UserID, in.ID, in.Delivery)
	if err != nil {
		return nil, err
	}
	payload, err := payloadOf(one)
	if err != nil {
		return nil, err
	}
	var out deliveryOutput
	out.Body.DeliverySummary, out.Body.Payload = summariseDelivery(one), json.RawMessage("null")
	if payload != nil {
		out.Body.Payload = payload
	}
	return &out, nil
}

// payloadOf is the document of a delivery; nil when it was not kept.
func payloadOf(one store.Delivery) ([]byte, error) {
	if len(one.Payload) == 0 {
		return nil, nil
	}
	return queue.Unpack(one.Payload)
}

func (d Deps) replayDelivery(ctx context.Context, caller auth.Identity, in *deliveryPath) (*messageOutput, error) {
	if _, err := d.Store.ConnectionToChange(ctx, caller.UserID, in.ID); err != nil {
		return nil, err
	}
	one, err := d.Store.DeliveryOf(ctx, caller.UserID, in.ID, in.Delivery)
	if err != nil {
		return nil, err
	}
	if len(one.Payload) == 0 {
		return nil, fault.New(fault.Conflict, "The delivery's payload was too large to be kept. Let the forge send it again, from the webhook's page there.")
	}
	if _, err := d.Queue.Enqueue(ctx, queue.NewReplay(queue.Delivery{
		Scope: one.Scope, ID: one.ID, Provider: one.Provider, Event: one.Event, ReceivedAt: d.Now(),
	}, one.Payload)); err != nil {
		return nil, err
	}
	d.audit(ctx, caller, "delivery.replay", in.ID+" "+one.ID, nil)
	var out messageOutput
	out.Body.Message = "The delivery is applied again."
	return &out, nil
}

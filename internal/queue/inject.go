package queue

import "context"

// Bodies keeps what is too large to travel through Redis.
type Bodies interface {
	PutBody(ctx context.Context, key string, packed []byte) error
}

// Inject enqueues a delivery that did not come through the receiver.
func (c *Client) Inject(ctx context.Context, d Delivery, document []byte, bodies Bodies) (Outcome, error) {
	packed := Pack(nil, document)
	if len(packed) > BodyLimit {
		d.BodyRef = DeliveryTaskID(d.Scope, d.ID)
		if err := bodies.PutBody(ctx, d.BodyRef, packed); err != nil {
			return "", err
		}
		packed = nil
	}
	return c.Enqueue(ctx, NewDelivery(d, packed))
}

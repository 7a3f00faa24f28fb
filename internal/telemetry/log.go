package telemetry

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// NewLogger writes to w, as JSON or, when pretty, for people. An unknown level
// counts as info.
func NewLogger(w io.Writer, level string, pretty bool) zerolog.Logger {
	parsed, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		parsed = zerolog.InfoLevel
	}
	if pretty {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly}
	}
	return zerolog.New(w).Level(parsed).With().Timestamp().Logger()
}

// NewRequestID names a request; a person can read it out to an operator.
func NewRequestID() string { return fmt.Sprintf("req_%x", uuid.New().NodeID()) }

// longestRequestID bounds the ids of others.
const longestRequestID = 64

// IsRequestID reports whether a caller's own id for its request may go into the
// log: 8 to 64 letters, digits, dots, hyphens and underscores.
func IsRequestID(id string) bool {
	if len(id) < 8 || len(id) > longestRequestID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

type requestIDKey struct{}

// WithRequestID returns a context that carries a request's id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestIDFrom returns the request's id; empty outside a request.
func RequestIDFrom(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

type deliveryIDKey struct{}

// WithDeliveryID returns a context that carries the id of the delivery that the
// work is for.
func WithDeliveryID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, deliveryIDKey{}, id)
}

// DeliveryIDFrom returns the delivery's id; empty in work that is for none.
func DeliveryIDFrom(ctx context.Context) string {
	id, _ := ctx.Value(deliveryIDKey{}).(string)
	return id
}

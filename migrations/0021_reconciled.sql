-- +goose Up

-- Operators see how many deliveries of the last day the forges' logs brought:
-- few among many.
CREATE INDEX deliveries_reconciled ON deliveries (received_at) WHERE source = 'reconciled';

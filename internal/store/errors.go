package store

import (
	"database/sql"
	"errors"
	"strings"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
)

var errIdentityTaken = fault.New(fault.Conflict, "Somebody has logged in with this account just now. Try again.")

// classify turns what the driver says into a kind of failure. Constraints are
// recognised by their names, here and nowhere else.
func classify(err error) error {
	if err == nil {
		return nil
	}
	var refused *pq.Error
	if !errors.As(err, &refused) {
		if errors.Is(err, sql.ErrNoRows) {
			return fault.Wrap(fault.NotFound, err, "There is no such thing, or it is not yours.")
		}
		// Everything else is the connection: refused, reset, timed out.
		return fault.Wrap(fault.Unavailable, err, "The database does not answer. Try again in a moment.")
	}
	switch refused.Constraint {
	case "repository_connections_user_name_key", "repository_connections_user_repository_key":
		return &fault.Error{Kind: fault.Conflict, Code: "already_connected", Cause: err,
			Sentence: "This repository is connected already."}
	case "identities_pkey", "users_name_key":
		return errIdentityTaken
	case "identities_user_provider_key":
		return fault.Wrap(fault.Conflict, err, "You have logged in with another account of this provider already. Log out first to use that one.")
	}
	switch class := string(refused.Code.Class()); {
	case class == "08", class == "53", class == "57", class == "58":
		// Connection lost, resources exhausted, shutting down, system error.
		return fault.Wrap(fault.Unavailable, err, "The database cannot take this now. Try again in a moment.")
	case class == "40":
		return fault.Wrap(fault.Unavailable, err, "Two changes met. Try again.")
	case strings.HasPrefix(string(refused.Code), "22"):
		return fault.Wrap(fault.Invalid, err, "A value does not fit the database.")
	default:
		return err
	}
}

// isUndefinedTable reports a database that was never migrated.
func isUndefinedTable(err error) bool {
	var refused *pq.Error
	return errors.As(err, &refused) && refused.Code.Name() == "undefined_table"
}

// isTaken reports a partition that cannot be made: another process has made it
// this moment, or deliveries of its day are in the default one, where they stay.
func isTaken(err error) bool {
	var refused *pq.Error
	if !errors.As(err, &refused) {
		return false
	}
	name := refused.Code.Name()
	return name == "duplicate_table" || name == "check_violation"
}

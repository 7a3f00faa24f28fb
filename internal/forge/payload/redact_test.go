package payload_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

func TestRedact(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"CI variables", `{"object_attributes":{"variables":[{"key":"DEPLOY_KEY","value":"hunter2"}]}}`,
			`{"object_attributes":{"variables":[{"key":"DEPLOY_KEY","value":"[redacted]"}]}}`},
		{"inputs of a workflow", `{"inputs":{"password":"hunter2","level":3}}`, `{"inputs":{"level":"[redacted]","password":"[redacted]"}}`},
		{"texts that are named as secrets", `{"hook":{"config":{"secret":"********"},"access_token":"hunter2","Api_Key":"hunter2"}}`,
			`{"hook":{"Api_Key":"[redacted]","access_token":"[redacted]","config":{"secret":"[redacted]"}}}`},
		{"a password in a URL", `{"url":"https://ann:hunter2@example.com/x"}`, `{"url":"https://[redacted]@example.com/x"}`},
		{"all else", `{"id":9007199254740993123,"a":[1.50,null,true,"<b> & token"],"token_present":true}`, `{"a":[1.50,null,true,"<b> & token"],"id":9007199254740993123,"token_present":true}`},
		{"no JSON", `hunter2`, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(payload.Redact([]byte(tt.in))); got != tt.want {
				t.Errorf("Redact = %s, want %s", got, tt.want)
			}
		})
	}
}

func FuzzRedact(f *testing.F) {
	f.Add([]byte(`{"variables":[{"key":"a","value":"b"}],"x":[{"token":"t"}]}`))
	f.Add([]byte("{\"a\":\"\xff\\u0000\"}"))
	f.Fuzz(func(t *testing.T, document []byte) {
		got := payload.Redact(document)
		if got == nil {
			return
		}
		if !json.Valid(got) {
			t.Fatalf("%q is no JSON", got)
		}
		if again := payload.Redact(got); !bytes.Equal(got, again) {
			t.Fatalf("%s, redacted again: %s", got, again)
		}
	})
}

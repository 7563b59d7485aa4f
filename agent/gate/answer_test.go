package gate

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseAnswer(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want answer
	}{
		{`{"go":true}`, answer{Go: true}},
		{" {\n\"go\" : true }\n", answer{Go: true}},
		{`{"go":false,"reason":"not-idle"}`, answer{Reason: "not-idle"}},
		{`{"reason":"x","go":false}`, answer{Reason: "x"}},
	} {
		if got, err := parseAnswer([]byte(tt.in)); err != nil || got != tt.want {
			t.Errorf("%s = %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{
		"", "null", "true", "[]", `{}`, `{"go":null}`, `{"go":"true"}`, `{"go":1}`, `{"Go":true}`, `{"go":true,"go":true}`,
		`{"go":true} {}`, `{"go":true}x`, `{"go":true,}`, `{"go":true`, `{"go":true,"hold":true}`, `{"go":false}`,
		`{"go":true,"reason":"x"}`, `{"reason":"x"}`, `{"go":false,"reason":""}`, `{"go":false,"reason":"Not Idle"}`,
		`{"go":false,"reason":"a\nb"}`, `{"go":false,"reason":"` + strings.Repeat("a", 33) + `"}`, `{"go":{"go":true}}`,
		`{"go":[true]}`,
	} {
		if got, err := parseAnswer([]byte(in)); err == nil || got != (answer{}) {
			t.Errorf("%s = %+v, %v; want an error", in, got, err)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, s := range []string{`{"go":true}`, `{"go":false,"reason":"not-idle"}`, `{"Go":true}`, `{"go":true,"go":false}`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAnswer(data)
		if err != nil {
			if a != (answer{}) {
				t.Fatalf("an error with %+v", a)
			}
			return
		}
		// What opens a gate says so in plain JSON too, and nothing contradicts it.
		var m map[string]any
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatalf("%q is no JSON: %v", data, err)
		}
		if m["go"] != a.Go {
			t.Fatalf("%q read as %+v", data, a)
		}
	})
}

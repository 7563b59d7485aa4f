package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// answer is what a program says: {"go":true}, or {"go":false,"reason":"WORD"}.
type answer struct {
	Go     bool
	Reason string
}

// word is the form of a program's reason: a code for receipts and reports, not a sentence.
var word = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$`)

// parseAnswer reads an answer and takes nothing else: no unknown, folded or repeated member, no
// second value, no closed gate without a reason. It reads tokens itself since encoding/json folds
// the case of names, so that "Go" would open a gate.
func parseAnswer(data []byte) (answer, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return answer{}, errors.New("want one JSON object")
	}
	var a answer
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return answer{}, errors.New("want one JSON object")
		}
		name, _ := t.(string)
		if seen[name] {
			return answer{}, fmt.Errorf("member %q stands twice", name)
		}
		seen[name] = true
		value, err := dec.Token()
		if err != nil {
			return answer{}, errors.New("want one JSON object")
		}
		ok := false
		switch name {
		case "go":
			a.Go, ok = value.(bool)
		case "reason":
			a.Reason, ok = value.(string)
			ok = ok && word.MatchString(a.Reason)
		default:
			return answer{}, fmt.Errorf("member %q is not known, want go and reason", name)
		}
		if !ok {
			return answer{}, fmt.Errorf("member %q has a value of another form", name)
		}
	}
	if _, err := dec.Token(); err != nil {
		return answer{}, errors.New("want one JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return answer{}, errors.New("want one JSON object and nothing after it")
	}
	if !seen["go"] {
		return answer{}, errors.New(`want member "go"`)
	}
	if a.Go == seen["reason"] {
		return answer{}, errors.New("want a reason if, and only if, go is false")
	}
	return a, nil
}

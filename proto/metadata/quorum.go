package metadata

import (
	"slices"

	"github.com/countersign-ota/countersign/proto/reason"
)

// QuorumField is the member that carries the quorum: beside keyids and threshold in a delegation, in
// succinct_roles, and keyed by role in the signed part of a root (DESIGN 1.2).
const QuorumField = "x-countersign-quorum"

// maxName bounds a person's name and a class's meaning, in bytes.
const maxName = 200

// Person is one member of a role: an id, the class whose requirement the person can meet, and the one
// key with which the person signs this role. Name is for people to read.
type Person struct {
	ID    string `json:"id"`
	Class string `json:"class"`
	KeyID string `json:"keyid"`
	Name  string `json:"name"`
}

// Quorum says how many distinct people of each class must sign. Meaning says what a signature of the
// class means (21 CFR 11.50).
type Quorum struct {
	People  []Person          `json:"people"`
	Require map[string]int    `json:"require"`
	Meaning map[string]string `json:"meaning"`
}

// ParseQuorum reads the quorum from the value of QuorumField, strictly: quorum-malformed for missing
// members and wrong types, unknown-member for others. The rules between its parts and with its role
// are Delegation.Check's.
func ParseQuorum(raw any) (*Quorum, error) {
	o, err := asObject(raw, "people", "require", "meaning")
	if err != nil {
		return nil, quorumError(err)
	}
	q := &Quorum{Require: map[string]int{}, Meaning: map[string]string{}}
	people, err := o.array("people", MaxKeys)
	if err != nil {
		return nil, quorumError(err)
	}
	for _, p := range people {
		person, err := parsePerson(p)
		if err != nil {
			return nil, quorumError(err)
		}
		q.People = append(q.People, person)
	}
	require, err := o.mapOf("require")
	if err != nil {
		return nil, quorumError(err)
	}
	for _, class := range sortedKeys(require) {
		n, ok := asInteger(require[class])
		if !ok || n < 1 || n > MaxKeys {
			return nil, reason.Errorf(reason.QuorumMalformed, "quorum: require of class %q: want an integer from 1 to %d", class, MaxKeys)
		}
		q.Require[class] = int(n)
	}
	meaning, err := o.mapOf("meaning")
	if err != nil {
		return nil, quorumError(err)
	}
	for _, class := range sortedKeys(meaning) {
		text, ok := meaning[class].(string)
		if !ok || text == "" || len(text) > maxName {
			return nil, reason.Errorf(reason.QuorumMalformed, "quorum: meaning of class %q: want a text of 1 to %d bytes", class, maxName)
		}
		q.Meaning[class] = text
	}
	return q, nil
}

func parsePerson(raw any) (Person, error) {
	o, err := asObject(raw, "id", "class", "keyid", "name")
	if err != nil {
		return Person{}, err
	}
	var p Person
	for _, f := range []struct {
		name string
		to   *string
	}{{"id", &p.ID}, {"class", &p.Class}, {"keyid", &p.KeyID}, {"name", &p.Name}} {
		if *f.to, err = o.text(f.name, maxName); err != nil {
			return Person{}, err
		}
	}
	return p, nil
}

// quorumError gives shape errors of a quorum its own reason; unknown members keep theirs.
func quorumError(err error) error {
	if reason.Is(err, reason.UnknownMember) {
		return reason.Wrap(err, "quorum")
	}
	return reason.Errorf(reason.QuorumMalformed, "quorum: %v", err)
}

// Field returns the value to put under QuorumField, in the form in which ParseQuorum finds it.
func (q *Quorum) Field() any {
	people := make([]any, 0, len(q.People))
	for _, p := range q.People {
		people = append(people, map[string]any{"id": p.ID, "class": p.Class, "keyid": p.KeyID, "name": p.Name})
	}
	require := map[string]any{}
	for class, n := range q.Require {
		require[class] = float64(n)
	}
	meaning := map[string]any{}
	for class, text := range q.Meaning {
		meaning[class] = text
	}
	return map[string]any{"people": people, "require": require, "meaning": meaning}
}

// Classes returns the required classes in order.
func (q *Quorum) Classes() []string { return sortedKeys(q.Require) }

// Threshold returns the sum of what the classes require: the TUF threshold of the role.
func (q *Quorum) Threshold() int {
	sum := 0
	for _, n := range q.Require {
		sum += n
	}
	return sum
}

// Equal reports whether two quorums are the same, people in any order.
func (q *Quorum) Equal(other *Quorum) bool {
	if q == nil || other == nil {
		return q == other
	}
	a, errA := Canonical(q.sorted().Field())
	b, errB := Canonical(other.sorted().Field())
	return errA == nil && errB == nil && string(a) == string(b)
}

func (q *Quorum) sorted() *Quorum {
	people := slices.Clone(q.People)
	slices.SortFunc(people, func(a, b Person) int {
		if a.ID < b.ID {
			return -1
		}
		if a.ID > b.ID {
			return 1
		}
		return 0
	})
	return &Quorum{People: people, Require: q.Require, Meaning: q.Meaning}
}

// check carries out the rules of DESIGN 1.2 that concern the quorum alone; spare demands one person
// more than required in each class.
func (q *Quorum) check(spare bool) error {
	if len(q.People) == 0 || len(q.Require) == 0 {
		return reason.Errorf(reason.QuorumMalformed, "quorum: nobody is required to sign")
	}
	count := map[string]int{}
	ids, keyids := map[string]bool{}, map[string]bool{}
	for _, p := range q.People {
		if err := CheckID("person", p.ID); err != nil {
			return quorumError(err)
		}
		if err := CheckID("class", p.Class); err != nil {
			return quorumError(err)
		}
		if ids[p.ID] {
			return reason.Errorf(reason.QuorumMalformed, "quorum: person %q is listed twice", p.ID)
		}
		if keyids[p.KeyID] {
			return reason.Errorf(reason.KeyTwice, "quorum: key %s stands for two people, the second is %q", short(p.KeyID), p.ID)
		}
		if _, ok := q.Require[p.Class]; !ok {
			return reason.Errorf(reason.QuorumMalformed, "quorum: class %q of person %q is not required", p.Class, p.ID)
		}
		ids[p.ID], keyids[p.KeyID] = true, true
		count[p.Class]++
	}
	for _, class := range q.Classes() {
		if err := CheckID("class", class); err != nil {
			return quorumError(err)
		}
		need := q.Require[class]
		if need < 1 {
			return reason.Errorf(reason.QuorumMalformed, "quorum: class %q requires %d people", class, need)
		}
		if spare {
			need++
		}
		if count[class] < need {
			return reason.Errorf(reason.QuorumMalformed, "quorum: class %q has %d people, wanted at least %d", class, count[class], need)
		}
	}
	for _, class := range sortedKeys(q.Meaning) {
		if _, ok := q.Require[class]; !ok {
			return reason.Errorf(reason.QuorumMalformed, "quorum: meaning for class %q, which is not required", class)
		}
	}
	return nil
}

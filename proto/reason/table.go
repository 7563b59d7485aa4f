package reason

import (
	"slices"

	"google.golang.org/grpc/codes"
)

// Not authentic: exit 3.
const (
	SignatureBad      Reason = "signature-bad"
	Threshold         Reason = "threshold"
	QuorumNotMet      Reason = "quorum-not-met"
	KeyIDMismatch     Reason = "keyid-mismatch"
	ScopeMissing      Reason = "scope-missing"
	ScopeMismatch     Reason = "scope-mismatch"
	RootWithoutScope  Reason = "root-without-scope"
	Rollback          Reason = "rollback"
	HashMismatch      Reason = "hash-mismatch"
	LengthMismatch    Reason = "length-mismatch"
	FoldedName        Reason = "folded-name"
	DuplicateName     Reason = "duplicate-name"
	Null              Reason = "null"
	NotInteger        Reason = "not-integer"
	IntegerRange      Reason = "integer-range"
	NotCanonical      Reason = "not-canonical"
	Malformed         Reason = "malformed"
	TooLarge          Reason = "too-large"
	TooDeep           Reason = "too-deep"
	TooManySignatures Reason = "too-many-signatures"
	UnknownMember     Reason = "unknown-member"
	ArtifactDiffers   Reason = "artifact-differs"
	BaseTooOld        Reason = "base-too-old"
	VersionUsed       Reason = "version-used"
	TokenInvalid      Reason = "token-invalid"
	ServerUnproven    Reason = "server-unproven"
)

// Not allowed: exit 4.
const (
	Expired          Reason = "expired"
	QuorumMissing    Reason = "quorum-missing"
	QuorumMalformed  Reason = "quorum-malformed"
	KeyMalformed     Reason = "key-malformed"
	KeyTwice         Reason = "key-twice"
	KeyExample       Reason = "key-example"
	KeyNotInRole     Reason = "key-not-in-role"
	CounterLow       Reason = "counter-low"
	CounterUsed      Reason = "counter-used"
	FloorFalls       Reason = "floor-falls"
	Floor            Reason = "floor"
	Hardware         Reason = "hardware"
	Installer        Reason = "installer"
	ProductMismatch  Reason = "product-mismatch"
	Requires         Reason = "requires"
	Stopped          Reason = "stopped"
	StopListMissing  Reason = "stop-list-missing"
	SBOMMissing      Reason = "sbom-missing"
	EvidenceMissing  Reason = "evidence-missing"
	PathFolds        Reason = "path-folds"
	RoleOpen         Reason = "role-open"
	EventStale       Reason = "event-stale"
	EventPublished   Reason = "event-published"
	EventCancelled   Reason = "event-cancelled"
	ApprovalMissing  Reason = "approval-missing"
	OnlineKeyUnknown Reason = "online-key-unknown"
	Permission       Reason = "permission"
	Profile          Reason = "profile"
	Limit            Reason = "limit"
	NotFound         Reason = "not-found"
	Attempts         Reason = "attempts"
	PlanStuck        Reason = "plan-stuck"
	Retired          Reason = "retired"
	NeverListed      Reason = "never-listed"
	StopKept         Reason = "stop-kept"
	RecoverFirst     Reason = "recover-first"
	BehindField      Reason = "repository-behind-field"
)

// Not reachable: exit 5.
const (
	Unreachable Reason = "unreachable"
	Busy        Reason = "busy"
	UploadBusy  Reason = "upload-busy"
)

// Not yet: exit 6.
const (
	QuorumOpen Reason = "quorum-open"
	Spread     Reason = "spread"
	Gate       Reason = "gate"
)

// Person not proven: exit 7.
const (
	NoTerminal      Reason = "no-terminal"
	WrongPassphrase Reason = "wrong-passphrase"
	WrongPIN        Reason = "wrong-pin"
	Declined        Reason = "declined"
)

// This machine: exit 8.
const (
	Locked        Reason = "locked"
	DiskFull      Reason = "disk-full"
	StateLost     Reason = "state-lost"
	StateDamaged  Reason = "state-damaged"
	SecretExposed Reason = "secret-exposed"
	Stuck         Reason = "stuck"
	InstallFailed Reason = "install-failed"
	PluginFailed  Reason = "plugin-failed"
)

// Wrong use: exit 2.
const (
	AmbiguousID Reason = "ambiguous-id"
	Plan        Reason = "plan"
	Spec        Reason = "spec"
	Config      Reason = "config"
	UsageError  Reason = "usage"
	Exists      Reason = "exists"
)

type info struct {
	class   Class
	meaning string
	code    codes.Code // OK: the code of the class
}

var table = map[Reason]info{
	SignatureBad:      {class: NotAuthentic, meaning: "a signature does not verify under the key it names"},
	Threshold:         {class: NotAuthentic, meaning: "fewer distinct keys signed a file than its role demands"},
	QuorumNotMet:      {class: NotAuthentic, meaning: "a file that claims to be final lacks a person of a class its role demands"},
	KeyIDMismatch:     {class: NotAuthentic, meaning: "a key is listed under an id that is not the SHA-256 of its canonical form"},
	ScopeMissing:      {class: NotAuthentic, meaning: "a role file does not say to which deployment, repository and role it belongs"},
	ScopeMismatch:     {class: NotAuthentic, meaning: "a role file belongs to another deployment, repository or role than the one asked for"},
	RootWithoutScope:  {class: NotAuthentic, meaning: "a root is not of the Countersign profile"},
	Rollback:          {class: NotAuthentic, meaning: "a file is older than one that was verified before"},
	HashMismatch:      {class: NotAuthentic, meaning: "bytes have another SHA-256 than the signed one"},
	LengthMismatch:    {class: NotAuthentic, meaning: "bytes have another length than the signed one"},
	FoldedName:        {class: NotAuthentic, meaning: "a member's name equals a known one only when letter case is ignored"},
	DuplicateName:     {class: NotAuthentic, meaning: "an object names a member twice"},
	Null:              {class: NotAuthentic, meaning: "null stands where an object, array, string or number must"},
	NotInteger:        {class: NotAuthentic, meaning: "a number is not an integer"},
	IntegerRange:      {class: NotAuthentic, meaning: "an integer is beyond 2^53 or outside its field's range"},
	NotCanonical:      {class: NotAuthentic, meaning: "the signed part changes when it is read and written again, so a signature would not cover what was read"},
	Malformed:         {class: NotAuthentic, meaning: "bytes do not have the form that their kind demands"},
	TooLarge:          {class: NotAuthentic, meaning: "a file is larger than its kind, or its delegator, allows"},
	TooDeep:           {class: NotAuthentic, meaning: "JSON is nested deeper than 32 levels"},
	TooManySignatures: {class: NotAuthentic, meaning: "a file carries more than 64 signatures, or two by one key"},
	UnknownMember:     {class: NotAuthentic, meaning: "an object whose members are fixed has one that is not known"},
	ArtifactDiffers:   {class: NotAuthentic, meaning: "the firmware at hand is not what the event names"},
	BaseTooOld:        {class: NotAuthentic, meaning: "an event builds on an older version than this machine has seen"},
	VersionUsed:       {class: NotAuthentic, meaning: "a version was signed before with other content"},
	TokenInvalid:      {class: NotAuthentic, meaning: "a one-time token is unknown, expired, used by another key, or for somebody else", code: codes.Unauthenticated},
	ServerUnproven:    {class: NotAuthentic, meaning: "the server's certificate is not under the deployment's identity CA, or not for the name it was called by"},

	Expired:          {class: NotAllowed, meaning: "metadata or a certificate has expired"},
	QuorumMissing:    {class: NotAllowed, meaning: "a role that must count people has no quorum"},
	QuorumMalformed:  {class: NotAllowed, meaning: "a quorum contradicts itself or its role"},
	KeyMalformed:     {class: NotAllowed, meaning: "a public key is not of a kind that is allowed here"},
	KeyTwice:         {class: NotAllowed, meaning: "one key stands for two people, two roles that must be disjoint, or signed already"},
	KeyExample:       {class: NotAllowed, meaning: "a key is one of keys-example, which everybody can sign with"},
	KeyNotInRole:     {class: NotAllowed, meaning: "the key may not sign this role"},
	CounterLow:       {class: NotAllowed, meaning: "a counter is not above the highest one"},
	CounterUsed:      {class: NotAllowed, meaning: "a counter names two targets for the same component and hardware"},
	FloorFalls:       {class: NotAllowed, meaning: "a release would lower the floor of its component"},
	Floor:            {class: NotAllowed, meaning: "an image is below the floor, or a floor is above its own counter"},
	Hardware:         {class: NotAllowed, meaning: "an image is for other hardware"},
	Installer:        {class: NotAllowed, meaning: "an image is for another installer"},
	ProductMismatch:  {class: NotAllowed, meaning: "path, delegation and document do not name the same product and component"},
	Requires:         {class: NotAllowed, meaning: "another component must first run a newer image, or requirements form a cycle"},
	Stopped:          {class: NotAllowed, meaning: "a person stopped this image"},
	StopListMissing:  {class: NotAllowed, meaning: "the product's stop list is not at hand in the version that the snapshot names"},
	SBOMMissing:      {class: NotAllowed, meaning: "a release has no SBOM although its product demands one"},
	EvidenceMissing:  {class: NotAllowed, meaning: "a file that a release names is not on the server"},
	PathFolds:        {class: NotAllowed, meaning: "two paths of a product differ only in letter case"},
	RoleOpen:         {class: NotAllowed, meaning: "another event on the role is open"},
	EventStale:       {class: NotAllowed, meaning: "another event on the role was published first"},
	EventPublished:   {class: NotAllowed, meaning: "the event is published and takes no more signatures"},
	EventCancelled:   {class: NotAllowed, meaning: "the event was cancelled"},
	ApprovalMissing:  {class: NotAllowed, meaning: "a signature comes without its person's approval of the file"},
	OnlineKeyUnknown: {class: NotAllowed, meaning: "the online keys, deployment or TLS anchors of an event are not this server's"},
	Permission:       {class: NotAllowed, meaning: "the caller may not do this", code: codes.PermissionDenied},
	Profile:          {class: NotAllowed, meaning: "a file breaks a rule of the Countersign profile"},
	Limit:            {class: NotAllowed, meaning: "a limit of the deployment is reached"},
	NotFound:         {class: NotAllowed, meaning: "what was named does not exist", code: codes.NotFound},
	Attempts:         {class: NotAllowed, meaning: "the same instruction failed three times after staging and waits for another one"},
	PlanStuck:        {class: NotAllowed, meaning: "a proposed change would leave devices or people with no way on"},
	Retired:          {class: NotAllowed, meaning: "the product is retired and takes no release"},
	NeverListed:      {class: NotAllowed, meaning: "a stop names an image that its product never listed"},
	StopKept:         {class: NotAllowed, meaning: "an entry would leave a stop list before its time"},
	RecoverFirst:     {class: NotAllowed, meaning: "the server was restored from a copy and signs nothing until it is recovered"},
	BehindField:      {class: NotAllowed, meaning: "a verified role file is newer than what this server has published"},

	Unreachable: {class: NotReachable, meaning: "the server or file could not be reached in time"},
	Busy:        {class: NotReachable, meaning: "the server is busy, or stops"},
	UploadBusy:  {class: NotReachable, meaning: "somebody else is uploading the same file", code: codes.Aborted},

	QuorumOpen: {class: NotYet, meaning: "an event still waits for people"},
	Spread:     {class: NotYet, meaning: "the release's spread has not passed on this device"},
	Gate:       {class: NotYet, meaning: "a gate defers the step"},

	NoTerminal:      {class: NotProven, meaning: "a question cannot be asked: there is no terminal"},
	WrongPassphrase: {class: NotProven, meaning: "the passphrase does not open the key"},
	WrongPIN:        {class: NotProven, meaning: "the token refused the PIN"},
	Declined:        {class: NotProven, meaning: "the answer was not the whole word yes"},

	Locked:        {class: Machine, meaning: "another process uses the directory"},
	DiskFull:      {class: Machine, meaning: "there is not enough space"},
	StateLost:     {class: Machine, meaning: "both copies of the record are damaged"},
	StateDamaged:  {class: Machine, meaning: "a stored file cannot be read or does not match its checksum"},
	SecretExposed: {class: Machine, meaning: "others can read a secret file"},
	Stuck:         {class: Machine, meaning: "a component can be neither confirmed nor reverted"},
	InstallFailed: {class: Machine, meaning: "an installer or the boot control command failed"},
	PluginFailed:  {class: Machine, meaning: "a key plug-in hung, failed or answered with something else than asked for"},

	AmbiguousID: {class: Usage, meaning: "an id's prefix matches several things"},
	Plan:        {class: Usage, meaning: "the plan cannot be carried out as written"},
	Spec:        {class: Usage, meaning: "the release spec cannot be carried out as written"},
	Config:      {class: Usage, meaning: "the configuration is wrong"},
	UsageError:  {class: Usage, meaning: "a flag or argument is wrong"},
	Exists:      {class: Usage, meaning: "what would be made exists already", code: codes.AlreadyExists},
}

// All returns every reason in the table, sorted by exit code and then by name.
func All() []Reason {
	all := make([]Reason, 0, len(table))
	for r := range table {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Reason) int {
		if c := int(a.Class()) - int(b.Class()); c != 0 {
			return c
		}
		if a < b {
			return -1
		}
		return 1
	})
	return all
}

package rule

import (
	"fmt"
	"strconv"
	"strings"

	"snitch/monitor/event"
)

// protoNames are the protocols with a name, as event.ProtoName writes them.
var protoNames = []string{"tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "raw", "packet", "vsock", "xdp"}

// portless are the protocols whose ends never have a port.
var portless = []string{"icmp", "icmpv6", "packet", "xdp"}

// parseProto reads a name of event.ProtoName. mptcp is tcp to rules.
func parseProto(s string) (string, error) {
	low := strings.ToLower(s)
	if low == "mptcp" {
		return "tcp", nil
	}
	for _, p := range protoNames {
		if p == low {
			return p, nil
		}
	}
	digits, family := strings.CutPrefix(low, "af-")
	if !family {
		digits = strings.TrimPrefix(low, "ip-")
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	switch {
	case err == nil && digits != low && strconv.FormatUint(n, 10) == digits && family:
		return event.ProtoName(uint16(n), 0), nil
	case err == nil && digits != low && strconv.FormatUint(n, 10) == digits:
		return event.ProtoName(event.AFInet, uint16(n)), nil
	case err == nil:
		return "", fmt.Errorf("%q is a number: write %s", clip(s), event.ProtoName(event.AFInet, uint16(n)))
	}
	hint := didYouMean(low, protoNames)
	if hint == "" {
		hint = "want " + oneOf(protoNames) + ", or ip-N with the number N of an IP protocol"
	}
	return "", fmt.Errorf("%q is not a protocol: %s", clip(s), hint)
}

// countryCodes is ISO 3166-1 alpha-2, and XK, which databases use for Kosovo.
const countryCodes = " AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ" +
	" CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR" +
	" GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP" +
	" KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ" +
	" NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW" +
	" SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ" +
	" UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW "

var mistakenCountries = map[string]string{"UK": "GB", "EL": "GR", "EN": "GB", "SU": "RU", "AN": "CW"}

func parseCountry(s string) (string, error) {
	code := strings.ToUpper(s)
	if len(code) == 2 && strings.Contains(countryCodes, " "+code+" ") {
		return code, nil
	}
	if other := mistakenCountries[code]; other != "" {
		return "", fmt.Errorf("%q is not a country's code: did you mean %q?", clip(s), other)
	}
	return "", fmt.Errorf("%q is not a country's code: want the two letters of ISO 3166-1, as DE", clip(s))
}

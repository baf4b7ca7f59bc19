package policy

import "strings"

// helpline is a number that people call in distress. What is said there is of the most special
// kind (AVG article 9), and nobody who needs it should wonder who listens.
type helpline struct {
	number string // as it is dialled in its country
	source string
}

// harmonised are the numbers of social value that are the same all over the Union, and in some
// countries around it: Commission Decision 2007/116/EC as amended by 2007/698/EC and
// 2009/884/EC.
var harmonised = []helpline{
	{"116000", "missing children: Decision 2007/116/EC"},
	{"116006", "victims of crime: Decision 2009/884/EC"},
	{"116111", "children: Decision 2007/698/EC"},
	{"116117", "medical help, not urgent: Decision 2009/884/EC"},
	{"116123", "emotional support: Decision 2007/698/EC"},
}

// helplines are those of single countries, by ISO 3166-1.
var helplines = map[string][]helpline{
	"AT": {{"142", "Telefonseelsorge, telefonseelsorge.at"}, {"147", "Rat auf Draht, rataufdraht.at"}},
	"BE": {{"1813", "Zelfmoordlijn, zelfmoord1813.be"}, {"106", "Tele-Onthaal, tele-onthaal.be"}, {"107", "Télé-Accueil, tele-accueil.be"}, {"103", "Écoute-Enfants, 103ecoute.be"}, {"102", "Awel, awel.be"}},
	"CH": {{"143", "Die Dargebotene Hand, 143.ch"}, {"147", "Pro Juventute, 147.ch"}},
	"DE": {{"08001110111", "Telefonseelsorge, telefonseelsorge.de"}, {"08001110222", "Telefonseelsorge, telefonseelsorge.de"}, {"116016", "Hilfetelefon Gewalt gegen Frauen, hilfetelefon.de"}},
	"ES": {{"024", "línea de atención a la conducta suicida, Ministerio de Sanidad"}, {"016", "violencia de género, Ministerio de Igualdad"}},
	"FR": {{"3114", "prévention du suicide, 3114.fr"}, {"119", "enfance en danger, allo119.gouv.fr"}, {"3919", "violences femmes info, arretonslesviolences.gouv.fr"}},
	"GB": {{"08001111", "Childline, childline.org.uk"}, {"08002000247", "National Domestic Abuse Helpline, nationaldahelpline.org.uk"}},
	"NL": {{"113", "113 Zelfmoordpreventie, 113.nl"}, {"08000113", "113 Zelfmoordpreventie, 113.nl"}, {"08000432", "Kindertelefoon, kindertelefoon.nl"}, {"08002000", "Veilig Thuis, veiligthuis.nl"}},
	"US": {{"988", "Suicide and Crisis Lifeline: National Suicide Hotline Designation Act, Pub. L. 116-172"}},
}

// unionNumbers are the countries that have the harmonised numbers: the members; Norway, Iceland
// and Liechtenstein by the EEA; Switzerland and Britain by their own plans.
var unionNumbers = map[string]bool{
	"AT": true, "BE": true, "BG": true, "CH": true, "CY": true, "CZ": true, "DE": true, "DK": true, "EE": true, "ES": true,
	"FI": true, "FR": true, "GB": true, "GR": true, "HR": true, "HU": true, "IE": true, "IS": true, "IT": true, "LI": true,
	"LT": true, "LU": true, "LV": true, "MT": true, "NL": true, "NO": true, "PL": true, "PT": true, "RO": true, "SE": true,
	"SI": true, "SK": true,
}

// helplinesOf returns the helplines of a country as rules see their numbers: as they are dialled,
// and with the country's code before them, which some PBXs send of every number.
func helplinesOf(n numbering) map[string]struct{} {
	own := helplines[n.country]
	if unionNumbers[n.country] {
		own = append(own[:len(own):len(own)], harmonised...)
	}
	normal := map[string]struct{}{}
	for _, h := range own {
		normal[h.number] = struct{}{}
		normal[n.normalise(h.number)] = struct{}{}
		for _, before := range []string{n.code, "00" + strings.TrimPrefix(n.code, "+"), "0"} { // the last is an outside line
			normal[before+h.number] = struct{}{}
			normal[before+strings.TrimPrefix(h.number, "0")] = struct{}{}
		}
	}
	return normal
}

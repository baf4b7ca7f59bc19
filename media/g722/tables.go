package g722

// Tables of the Recommendation; its names in parentheses.

// mirror is one half of the quadrature mirror filter, which is symmetric (table 11).
var mirror = [qmfTaps / 2]int32{3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11}

// levels are where QUANTL decides, in steps (Q6, without the zero).
var levels = [29]int32{
	35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786,
	858, 940, 1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
}

// positive6 is the code of the smallest positive difference; it falls from there
// (ILP). What is negative begins with two codes of its own (ILN).
const positive6 = 61

var negative6 = [len(levels) + 1]int32{
	63, 62, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18,
	17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4,
}

// antilog is the mantissa of a step by its logarithm (ILB): 2048·2^(n/32).
var antilog = [32]int32{
	2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
	2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
}

// growth4 and growth2 are by how much a code lets the logarithm of the step grow
// (WL by RL42, WH by IH2).
var (
	growth4 = [16]int32{-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60}
	growth2 = [4]int32{798, -214, 798, -214}
)

// inverse6, inverse4 and inverse2 are the differences that codes of so many bits
// stand for, in steps (QM6, QM4, QM2).
var (
	inverse6 = [64]int32{
		-136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
		-7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
		24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
		4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
	}
	inverse4 = [16]int32{0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0}
	inverse2 = [4]int32{-7408, -1616, 7408, 1616}
)

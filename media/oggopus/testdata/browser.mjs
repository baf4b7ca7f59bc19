// Plays a recording of two streams in Chromium and says how loud each channel is:
//
//	node browser.mjs chromium recording.opus
//
// It needs playwright-core (npm) and a Chromium; it is no part of CI.
import {readFileSync} from 'node:fs'
import {chromium} from 'playwright-core'

const [executablePath, file] = process.argv.slice(2)
const browser = await chromium.launch({executablePath, args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required']})
const page = await browser.newPage()
const base64 = readFileSync(file).toString('base64')
console.log(JSON.stringify(await page.evaluate(async base64 => {
	const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0))
	// What an audio element finds …
	const audio = new Audio(URL.createObjectURL(new Blob([bytes], {type: 'audio/ogg'})))
	const element = await new Promise((resolve, reject) => {
		audio.onloadedmetadata = () => resolve(audio.duration)
		audio.onerror = () => reject(new Error(audio.error.message))
	})
	audio.currentTime = element / 2
	await new Promise(resolve => { audio.onseeked = resolve })
	await audio.play()
	await new Promise(resolve => { audio.ontimeupdate = () => audio.currentTime > element / 2 + 0.3 && resolve() })
	audio.pause()
	// … and what it decodes, by quarters of the recording.
	const decoded = await new OfflineAudioContext(2, 1, 48000).decodeAudioData(bytes.buffer)
	const level = (channel, quarter) => {
		const samples = decoded.getChannelData(channel), n = Math.floor(samples.length / 4)
		let sum = 0
		for (const s of samples.subarray(quarter * n + 2400, (quarter + 1) * n - 2400)) sum += s * s
		return Math.round(200 * Math.log10(Math.sqrt(sum / (n - 4800)) + 1e-6)) / 10
	}
	return {
		seconds: element, decoded: decoded.duration, channels: decoded.numberOfChannels,
		left: [0, 1, 2, 3].map(q => level(0, q)), right: [0, 1, 2, 3].map(q => level(1, q)),
	}
}, base64)))
await browser.close()

// Pictures that are pasted, dropped or chosen: they go into the post itself, as data URLs.

/** The most code points that a post's content may have. */
export const CONTENT_MAX = 1_000_000;

/** The longest side of a picture that had to be made smaller, in pixels. */
const SIDE_MAX = 1600;
/** How well it is kept then, from the first try on. */
const QUALITIES = [0.85, 0.7, 0.5];

/** Why a picture cannot go in, in a sentence for the user. */
export class PictureFault extends Error {}

/** The data URL of a picture, made smaller where it would have more than `room` characters. */
export async function dataUrlOf(file: File, room: number): Promise<string> {
  if (!file.type.startsWith("image/")) throw new PictureFault(`“${file.name}” is no picture.`);
  const whole = await read(file);
  if (whole.length <= room) return whole;
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new PictureFault(`“${file.name}” is a picture that this browser cannot read.`);
  });
  for (const quality of QUALITIES) {
    const smaller = await read(await shrink(bitmap, quality));
    if (smaller.length <= room) return smaller;
  }
  throw new PictureFault(
    `“${file.name}” is too large: a post holds ${CONTENT_MAX.toLocaleString()} characters, pictures included, and this one has room for ${Math.max(room, 0).toLocaleString()} more.`,
  );
}

async function shrink(bitmap: ImageBitmap, quality: number): Promise<Blob> {
  const scale = Math.min(1, SIDE_MAX / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.ceil(bitmap.width * scale), Math.ceil(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/webp", quality });
}

function read(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new PictureFault("The picture could not be read."));
    reader.readAsDataURL(blob);
  });
}

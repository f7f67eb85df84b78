"""Records of jobs as they stand in Redis."""

WAITING = {
    "status": "queued",
    "queue": "gpu.shapes",
    "caller": "default",
    "created_at": "1795489800.172009",
    "spec": '{"prompt":"a red circle","model":"shapes","width":128,"height":128,"num_inference_steps":20,'
    '"guidance_scale":3.0,"scheduler":"ddim","seed":1}',
}
IMAGE = {
    "key": "2026/11/24/a/1-t/0.png",
    "content_type": "image/png",
    "width": 128,
    "height": 128,
    "bytes": 9,
    "sha256": "00",
    "seed": 1,
}
